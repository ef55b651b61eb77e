/** Why another server answers a packet in another way than ours; written by hand from the answers of one run. */
import type { Case } from '../resolver/conformance/run.ts'

type Server = 'ours' | 'bind' | 'unbound'
type Rule = [server: 'bind' | 'unbound' | 'both', matches: RegExp, why: string]

/** The first that matches `rfc: name` counts. */
const RULES: Rule[] = [
  ['unbound', /AA, TC and RA in a query/, 'it takes a query with TC for malformed; the bit means nothing there'],
  ['bind', /opcode [45]/, 'it has NOTIFY and UPDATE, and this is a malformed one'],
  ['unbound', /opcode 4/, 'it has NOTIFY, and refuses it'],
  ['unbound', /opcode/, 'it echoes the question beside NOTIMP, which RFC 8906 section 8.1.4 has empty'],
  ['both', /an alias to localhost/, 'nothing is hidden: it does not follow the alias, so it says nothing of it either'],
  [
    'unbound',
    /255 bytes is one|another name without|the root without|a refusal says|an OPT with a refusal|cookie with a refusal|looks like the apex|only ends like|: alt/,
    'a resolver: it asks the root servers, and has no answer within 0.4 s here',
  ],
  ['bind', /pointer into the header/, 'it follows the pointer, finds a name in the header and refuses that'],
  ['both', /a byte behind the message/, 'it is passed over; we take a message that is not whole for malformed'],
  ['bind', /an answer in a query/, 'it is passed over; a query has none'],
  [
    'unbound',
    /another additional record is passed over/,
    'it allows an OPT only; a TSIG or SIG(0) of others is then an error',
  ],
  [
    'both',
    /class ANY/,
    'the class is of no use: FORMERR (bind), any class will do (unbound), REFUSED (ours) are all in use',
  ],
  ['bind', /class NONE/, 'it is a class for updates only, so FORMERR; ours refuses all classes but IN'],
  ['both', /version\.bind/, 'it tells its version; ours tells nobody'],
  ['bind', /MAILB/, 'obsolete: NOTIMP; ours refuses it with the other meta types'],
  ['both', /MAILB|TSIG as a question/, 'FORMERR for a type that is no question; ours refuses'],
  [
    'bind',
    /a refusal of a transfer/,
    'extended error 18 (prohibited): its transfers are forbidden; ours do not exist (21)',
  ],
  ['both', /a refusal says|a refusal of|cookie with a refusal/, 'no extended error with a refusal'],
  ['unbound', /an option that overruns|half an option/, 'it answers and drops the OPT; malformed is FORMERR'],
  ['bind', /a client sets no keepalive time/, 'it does not look at the time that a client sends'],
  ['unbound', /cookie of \d+ bytes|an empty cookie/, 'no cookies in this version (1.17); the option is not looked at'],
  [
    'bind',
    /: (a label|a name|a pointer|an additional|two OPTs|an OPT|an option|half an|a cookie of|an empty cookie)/,
    'FORMERR as well, with the question echoed where it could be read; ours is a header only',
  ],
  [
    'unbound',
    /two questions|same question|65535 questions|announced|without its class|does not end|label|of 256|pointer|an answer in a query|overruns|two OPTs|root|among the answers/,
    'FORMERR as well; it sends back what it got, up to the malformed part and beyond',
  ],
  [
    'bind',
    /client subnet/,
    'it echoes the option with scope 0, as RFC 7871 section 7.2.1 lets a server do that uses it; ours does not',
  ],
  [
    'bind',
    /2181 9|over 512|too long/,
    'it fills the datagram with a part of the set, which RFC 2181 section 9 allows beside TC',
  ],
  ['bind', /keepalive/, 'its idle time is 30 s, ours 10 s'],
  ['unbound', /keepalive/, 'it says 0, which asks the client to close when it is done'],
  ['unbound', /cookie/, 'no cookies in this version (1.17)'],
  [
    'bind',
    /case of the question is kept/,
    'owner names have the case of the zone (RFC 4343 section 4.1 allows both); ours that of the question',
  ],
  ['unbound', /an alias to/, 'from a zone of its own it gives the alias alone; a stub has to ask on'],
  [
    'both',
    /an alias into another zone/,
    'it does not leave the zone that it answers from; ours is asked by stubs, which do not ask on',
  ],
  [
    'both',
    /ten aliases/,
    'bind follows all ten, unbound stops after some and gives what it has; ours gives up beyond 8 and says so',
  ],
  [
    'both',
    /circle/,
    'the aliases are given beside the error (bind) or without one (unbound); ours fails without records',
  ],
  [
    'both',
    /ANY gets one set/,
    'bind gives all, unbound some; RFC 8482 lets a server choose, and the smallest set is of least use for an attack',
  ],
  ['bind', /6761|6303|7686|9476|8020/, 'no zone for special names unless one is set up; as a resolver it has some'],
  [
    'unbound',
    /another type of localhost|127\.0\.0\.2|between them|below invalid|: test|onion/,
    'the same with a negative TTL of 3 h; ours is 30 s',
  ],
  ['unbound', /: invalid/, 'the name itself exists for it (NODATA); ours has nothing there'],
]

export function whyFor({ rfc, name }: Case, server: Server): string {
  const text = `${rfc}: ${name}`
  return RULES.find(([who, matches]) => (who === 'both' || who === server) && matches.test(text))?.[2] ?? ''
}
