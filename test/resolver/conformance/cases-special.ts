/** Names that are answered here and nowhere else, and answers that say what is wrong. */
import { ask, message, opt, u16, wireName } from './packet.ts'
import type { Case, Expect } from './run.ts'

const ok = (...answer: string[]): Expect => ({ rcode: 0, flags: 'aa rd ra', answer, authority: [], additional: [] })
const none = (rcode: number, authority = 'alice.p2p SOA minimum 300', answer: string[] = []): Expect => ({
  rcode,
  flags: 'aa rd ra',
  answer,
  authority: [authority],
})
const withOpt = (name: string, type = 'A'): Buffer => ask(name, type, { records: [opt()] })
const ours = true
/** Never known to anybody above us. */
const never = (apex: string): Expect => none(3, `${apex} SOA minimum 30`)
const reverse6 = `1.${'0.'.repeat(31)}ip6.arpa`

export const specialCases: Case[] = [
  { name: 'localhost', rfc: '6761 6.3', packet: ask('localhost'), expect: ok('localhost A 127.0.0.1') },
  {
    name: 'localhost over IPv6',
    rfc: '6761 6.3',
    packet: ask('localhost', 'AAAA'),
    expect: ok('localhost AAAA 00000000000000000000000000000001'),
  },
  { name: 'below localhost', rfc: '6761 6.3', packet: ask('a.b.LOCALHOST'), expect: ok('a.b.localhost A 127.0.0.1') },
  {
    name: 'anything below localhost',
    rfc: '6761 6.3',
    packet: ask('\x01 .\xff.localhost'),
    expect: { rcode: 0, flags: 'aa rd ra', authority: [] },
  },
  {
    name: 'another type of localhost',
    rfc: '6761 6.3',
    packet: ask('localhost', 'MX'),
    expect: none(0, 'localhost SOA minimum 30'),
  },
  {
    name: 'the name of 127.0.0.1',
    rfc: '6303 4.3',
    packet: ask('1.0.0.127.in-addr.arpa', 'PTR'),
    expect: ok('1.0.0.127.in-addr.arpa PTR localhost'),
  },
  {
    name: 'the name of 127.0.0.2',
    rfc: '6303 4.3',
    packet: ask('2.0.0.127.in-addr.arpa', 'PTR'),
    expect: never('127.in-addr.arpa'),
  },
  {
    name: 'between them there is nothing',
    rfc: '8020 2',
    packet: ask('0.127.in-addr.arpa', 'PTR'),
    expect: none(0, '127.in-addr.arpa SOA minimum 30'),
  },
  { name: 'the name of ::1', rfc: '6303 4.4', packet: ask(reverse6, 'PTR'), expect: ok(`${reverse6} PTR localhost`) },
  { name: 'invalid', rfc: '6761 6.4', packet: ask('invalid'), expect: never('invalid') },
  { name: 'below invalid', rfc: '6761 6.4', packet: ask('a.invalid', 'AAAA'), expect: never('invalid') },
  { name: 'test', rfc: '6761 6.2', packet: ask('a.test'), expect: never('test') },
  { name: 'onion', rfc: '7686 2', packet: ask('abc.onion'), expect: never('onion') },
  {
    name: 'special names never go upstream',
    rfc: '6761 6.4',
    server: 'upstream',
    packet: ask('a.b.invalid'),
    expect: never('invalid'),
  },
  {
    name: 'onion never goes upstream',
    rfc: '7686 2',
    server: 'upstream',
    packet: ask('x.ONION', 'AAAA'),
    expect: never('onion'),
  },
  {
    name: 'localhost never goes upstream',
    rfc: '6761 6.3',
    server: 'upstream',
    packet: ask('localhost'),
    expect: ok('localhost A 127.0.0.1'),
  },
  {
    name: 'a name that only ends like a special one is none',
    rfc: '6761 5',
    packet: ask('mytest'),
    expect: { rcode: 5 },
  },
  { name: 'alt', rfc: '9476 2', packet: ask('x.gnu.alt'), expect: never('alt') },
  {
    name: 'p2p.alt is p2p',
    rfc: '9476 2',
    packet: ask('www.alice.p2p.alt', 'CNAME'),
    ours,
    expect: ok('www.alice.p2p.alt CNAME alice.p2p.alt'),
  },

  {
    name: 'a stale zone is answered and says so',
    rfc: '8767 4',
    packet: withOpt('old.p2p'),
    ours,
    expect: { rcode: 0, answer: ['old.p2p A 192.0.2.9'], ttls: [30], options: ['15:0003'] },
  },
  {
    name: 'a stale zone without a name says so',
    rfc: '8914 4.20',
    packet: withOpt('x.old.p2p'),
    ours,
    expect: { rcode: 3, options: ['15:0013'] },
  },
  {
    name: 'a network that cannot be asked',
    rfc: '8914 4.23',
    packet: withOpt('down.p2p'),
    ours,
    expect: { rcode: 2, flags: 'rd ra', answer: [], options: ['15:0016'] },
  },
  {
    name: 'a failure is kept for a while',
    rfc: '9520 3.2',
    packet: withOpt('flaky.p2p'),
    next: () => withOpt('flaky.p2p'),
    ours,
    expect: { rcode: 2, options: ['15:0016'] },
  },
  {
    name: 'a circle of aliases says so',
    rfc: '8914 4.1',
    packet: withOpt('loop.alice.p2p'),
    expect: { rcode: 2, options: ['15:0000'] },
  },
  {
    name: 'no extended error without an OPT',
    rfc: '8914 2',
    packet: ask('down.p2p'),
    ours,
    expect: { rcode: 2, opt: null },
  },
  {
    name: 'no extended error where nothing is wrong',
    rfc: '8914 2',
    packet: withOpt('alice.p2p'),
    expect: { rcode: 0, options: [] },
  },
  {
    name: 'the question keeps odd bytes',
    rfc: '1035 3.1',
    packet: message(Buffer.concat([wireName('\x00\xff.nobody.p2p'), u16(1, 1)])),
    expect: { rcode: 3 },
  },
]
