/** EDNS and what it carries; sizes and truncation. */
import { ask, message, opt, option, type Reply } from './packet.ts'
import type { Case, Expect } from './run.ts'

const alice = ['alice.p2p A 192.0.2.1', 'alice.p2p A 192.0.2.2']
const withOpt = (fields: Parameters<typeof opt>[0] = {}, name = 'alice.p2p', type = 'A'): Buffer =>
  ask(name, type, { records: [opt(fields)] })
const ok: Expect = { rcode: 0, answer: alice, opt: { version: 0, flags: 0, payload: 1232 }, options: [] }
const formerr: Expect = { rcode: 1, question: '', answer: [] }
const CLIENT = '0102030405060708'
const cookie = (hex: string): Buffer => withOpt({ options: option(10, hex) })
/** The query again, with the cookie that came. */
const again = (change: (hex: string) => string) => (reply: Reply) => cookie(change(reply.options[0]?.slice(3) ?? ''))
/** The last byte of the server cookie turned around. */
const forged = (hex: string): string => hex.slice(0, -2) + (hex.endsWith('00') ? '01' : '00')
const answered: Expect = { rcode: 0, answer: alice, options: [`10:${CLIENT}01000000`] }
const truncated = (more: object = {}): Expect => ({
  rcode: 0,
  flags: 'aa tc rd ra',
  answer: [],
  authority: [],
  ...more,
})
const big = Array.from({ length: 40 }, (_, i) => `big.alice.p2p A 192.0.2.${100 + i}`)
const whole = { rcode: 0, flags: 'aa rd ra' }

export const ednsCases: Case[] = [
  { name: 'an OPT for an OPT', rfc: '6891 6.1.1', packet: withOpt(), expect: ok },
  { name: 'no OPT without one', rfc: '6891 7', packet: ask('alice.p2p'), expect: { rcode: 0, opt: null } },
  {
    name: 'an OPT with an NXDOMAIN as well',
    rfc: '6891 6.1.1',
    packet: withOpt({}, 'x.alice.p2p'),
    expect: { rcode: 3, opt: { version: 0 } },
  },
  {
    name: 'an OPT with a refusal as well',
    rfc: '6891 6.1.1',
    packet: withOpt({}, 'example.com'),
    expect: { rcode: 5, opt: { version: 0 } },
  },
  {
    name: 'version 1',
    rfc: '6891 6.1.3',
    packet: withOpt({ version: 1 }),
    expect: { rcode: 16, answer: [], opt: { version: 0 } },
  },
  {
    name: 'version 255',
    rfc: '8906 8.2.2',
    packet: withOpt({ version: 255 }),
    expect: { rcode: 16, answer: [], opt: { version: 0 } },
  },
  {
    name: 'version 1 with an unknown option',
    rfc: '8906 8.2.5',
    packet: withOpt({ version: 1, options: option(100) }),
    expect: { rcode: 16, answer: [], options: [] },
  },
  {
    name: 'version 1 for a name that has no answer',
    rfc: '8906 8.2.2',
    packet: withOpt({ version: 1 }, 'x.alice.p2p'),
    expect: { rcode: 16, authority: [] },
  },
  {
    name: 'an unknown option is passed over and not echoed',
    rfc: '8906 8.2.3',
    packet: withOpt({ options: option(100, '0102') }),
    expect: ok,
  },
  { name: 'unknown EDNS flags are not echoed', rfc: '8906 8.2.4', packet: withOpt({ flags: 0x0040 }), expect: ok },
  {
    name: 'DO is echoed',
    rfc: '3225 3',
    packet: withOpt({ flags: 0x8000 }),
    expect: { ...ok, opt: { flags: 0x8000 } },
  },
  {
    name: 'DO and unknown flags',
    rfc: '8906 8.2.6',
    packet: withOpt({ flags: 0x80ff }),
    expect: { ...ok, opt: { flags: 0x8000 } },
  },
  { name: 'two OPTs', rfc: '6891 6.1.1', packet: ask('alice.p2p', 'A', { records: [opt(), opt()] }), expect: formerr },
  {
    name: 'an OPT that does not stand at the root',
    rfc: '6891 6.1.2',
    packet: ask('alice.p2p', 'A', { records: [opt({ owner: Buffer.from([1, 0x61, 0]) })] }),
    expect: formerr,
  },
  {
    name: 'an option that overruns its OPT',
    rfc: '6891 6.1.2',
    packet: withOpt({ options: Buffer.from([0, 100, 0, 9, 1]) }),
    expect: formerr,
  },
  { name: 'half an option', rfc: '6891 6.1.2', packet: withOpt({ options: Buffer.from([0, 100]) }), expect: formerr },
  {
    name: 'an OPT among the answers',
    rfc: '6891 6.1.1',
    packet: ask('alice.p2p', 'A', { records: [opt()], counts: [1, 1, 0, 0] }),
    expect: formerr,
  },
  {
    name: 'a client subnet is passed over',
    rfc: '7871 7.2.1',
    packet: withOpt({ options: option(8, '00011800c00002') }),
    expect: ok,
  },
  { name: 'NSID is passed over', rfc: '5001 2.2', packet: withOpt({ options: option(3) }), expect: ok },
  {
    name: 'padding in clear text is no padding in the answer',
    rfc: '7830 6',
    packet: withOpt({ options: option(12, '00'.repeat(64)) }),
    expect: ok,
  },

  { name: 'a payload of 0 counts as 512', rfc: '6891 6.2.3', packet: withOpt({ payload: 0 }), expect: ok },
  {
    name: 'over 512 bytes without an OPT',
    rfc: '1035 4.2.1',
    packet: ask('big.alice.p2p'),
    expect: truncated({ maxSize: 512 }),
    tcp: { ...whole, answer: big },
  },
  {
    name: 'a set is cut whole',
    rfc: '2181 9',
    packet: withOpt({ payload: 512 }, 'big.alice.p2p'),
    expect: truncated({ maxSize: 512 }),
    tcp: { ...whole, answer: big },
  },
  {
    name: 'what fits before it stays',
    rfc: '2181 9',
    packet: ask('to-big.alice.p2p'),
    expect: truncated({ answer: ['to-big.alice.p2p CNAME big.alice.p2p'] }),
    tcp: whole,
  },
  {
    name: 'room for more is used',
    rfc: '6891 6.2.3',
    packet: withOpt({ payload: 1232 }, 'big.alice.p2p'),
    expect: { ...whole, answer: big, maxSize: 1232 },
  },
  {
    name: 'under 512 bytes, compressed',
    rfc: '1035 4.1.4',
    packet: ask('fits.alice.p2p'),
    expect: { ...whole, maxSize: 32 + 20 * 16 },
  },
  {
    name: 'never above 1232 bytes',
    rfc: '9715 3.1',
    packet: withOpt({ payload: 4096 }, 'huge.alice.p2p', 'TXT'),
    expect: truncated({ maxSize: 1232, opt: { payload: 1232 } }),
    tcp: whole,
  },
  {
    name: 'never above 1232 bytes, whatever is offered',
    rfc: '9715 3.1',
    packet: withOpt({ payload: 65_535 }, 'huge.alice.p2p', 'TXT'),
    expect: truncated({ maxSize: 1232 }),
    tcp: whole,
  },
  {
    name: 'over TCP the payload size means nothing',
    rfc: '6891 6.2.3',
    packet: withOpt({ payload: 512 }, 'huge.alice.p2p', 'TXT'),
    over: 'tcp',
    expect: { ...whole, opt: { version: 0 } },
  },
  {
    name: 'ANY that is too long is cut as well',
    rfc: '8482 4.4',
    packet: ask('huge.alice.p2p', 'ANY'),
    expect: truncated(),
    tcp: whole,
  },

  {
    name: 'keepalive over TCP',
    rfc: '7828 3.3.2',
    packet: withOpt({ options: option(11) }),
    expect: ok,
    tcp: { ...ok, options: ['11:0064'] },
  },
  { name: 'no keepalive unless asked', rfc: '7828 3.3.2', packet: withOpt(), over: 'tcp', expect: ok },
  {
    name: 'a client sets no keepalive time',
    rfc: '7828 3.2.1',
    packet: withOpt({ options: option(11, '0064') }),
    expect: ok,
    tcp: { rcode: 1, answer: [] },
  },
  {
    name: 'keepalive in a refusal',
    rfc: '7828 3.3.2',
    packet: withOpt({ options: option(11) }, 'x.alice.p2p'),
    over: 'tcp',
    expect: { rcode: 3, options: ['11:0064'] },
  },

  { name: 'a client cookie gets a server cookie', rfc: '7873 5.2.3', packet: cookie(CLIENT), expect: answered },
  {
    name: 'a right server cookie',
    rfc: '7873 5.2.5',
    packet: cookie(CLIENT),
    next: again((hex) => hex),
    expect: answered,
  },
  {
    name: 'a forged server cookie gets a right one',
    rfc: '7873 5.2.4',
    packet: cookie(CLIENT),
    next: again(forged),
    expect: answered,
  },
  {
    name: 'a server cookie of another length',
    rfc: '7873 5.2.4',
    packet: cookie(`${CLIENT}${'aa'.repeat(32)}`),
    expect: answered,
  },
  { name: 'a cookie of 7 bytes', rfc: '7873 5.2.2', packet: cookie('01020304050607'), expect: formerr },
  { name: 'a cookie of 9 bytes', rfc: '7873 5.2.2', packet: cookie(`${CLIENT}09`), expect: formerr },
  { name: 'a cookie of 15 bytes', rfc: '7873 5.2.2', packet: cookie(`${CLIENT}${'aa'.repeat(7)}`), expect: formerr },
  { name: 'a cookie of 41 bytes', rfc: '7873 5.2.2', packet: cookie(`${CLIENT}${'aa'.repeat(33)}`), expect: formerr },
  { name: 'an empty cookie', rfc: '7873 5.2.2', packet: cookie(''), expect: formerr },
  {
    name: 'of two cookies the first counts',
    rfc: '7873 5.2',
    packet: withOpt({ options: Buffer.concat([option(10, CLIENT), option(10, 'ff'.repeat(8))]) }),
    expect: answered,
  },
  {
    name: 'a cookie with an NXDOMAIN',
    rfc: '7873 5.2.3',
    packet: withOpt({ options: option(10, CLIENT) }, 'x.alice.p2p'),
    expect: { rcode: 3, options: [`10:${CLIENT}`] },
  },
  {
    name: 'a cookie with a refusal',
    rfc: '7873 5.2.3',
    packet: withOpt({ options: option(10, CLIENT) }, 'example.com'),
    expect: { rcode: 5, options: [`10:${CLIENT}`, '15:0014'] },
  },
  {
    name: 'a cookie is all that is wanted',
    rfc: '7873 5.4',
    packet: message(Buffer.alloc(0), { records: [opt({ options: option(10, CLIENT) })] }),
    expect: { rcode: 0, question: '', answer: [], options: [`10:${CLIENT}01`] },
  },
  {
    name: 'no question and no cookie',
    rfc: '9619 4',
    packet: message(Buffer.alloc(0), { records: [opt()] }),
    expect: formerr,
  },
  {
    name: 'strict: a client cookie alone gets BADCOOKIE',
    rfc: '7873 5.2.3',
    server: 'strict',
    packet: cookie(CLIENT),
    expect: { rcode: 23, answer: [], options: [`10:${CLIENT}01`] },
    tcp: answered,
  },
  {
    name: 'strict: a right cookie gets the answer',
    rfc: '7873 5.2.5',
    server: 'strict',
    packet: cookie(CLIENT),
    next: again((hex) => hex),
    expect: answered,
  },
  {
    name: 'strict: a forged cookie gets BADCOOKIE',
    rfc: '7873 5.2.4',
    server: 'strict',
    packet: cookie(CLIENT),
    next: again(forged),
    expect: { rcode: 23, answer: [] },
    tcp: answered,
  },
  {
    name: 'strict: without a cookie all is as ever',
    rfc: '7873 5.2.1',
    server: 'strict',
    packet: ask('alice.p2p'),
    expect: { rcode: 0, answer: alice },
  },
]
