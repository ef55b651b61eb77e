/** Names, and what is said of those that are not there. */
import { ask, message, u16 } from './packet.ts'
import type { Case, Expect } from './run.ts'

const alice = ['alice.p2p A 192.0.2.1', 'alice.p2p A 192.0.2.2']
const ok = (...answer: string[]): Expect => ({ rcode: 0, flags: 'aa rd ra', answer, authority: [], additional: [] })
const none = (rcode: number, authority = 'alice.p2p SOA minimum 300', answer: string[] = []): Expect => ({
  rcode,
  flags: 'aa rd ra',
  answer,
  authority: [authority],
})
const nodata = none(0)
const nxdomain = none(3)
const long = 'a'.repeat(63)
const mail = Buffer.from('\x04mail\x05alice\x03p2p\0', 'latin1').toString('hex')

export const nameCases: Case[] = [
  {
    name: 'AAAA',
    rfc: '3596 2.2',
    packet: ask('alice.p2p', 'AAAA'),
    expect: ok('alice.p2p AAAA 20010db8000000000000000000000001'),
  },
  {
    name: 'MX',
    rfc: '1035 3.3.9',
    packet: ask('alice.p2p', 'MX'),
    expect: { rcode: 0, answer: ['alice.p2p MX 10 mail.alice.p2p'], authority: [] },
  },
  {
    name: 'TXT',
    rfc: '1035 3.3.14',
    packet: ask('alice.p2p', 'TXT'),
    expect: ok('alice.p2p TXT 0b68656c6c6f20776f726c64'),
  },
  {
    name: 'TXT of two strings',
    rfc: '1035 3.3.14',
    packet: ask('two.alice.p2p', 'TXT'),
    expect: ok('two.alice.p2p TXT 036f6e650374776f'),
  },
  {
    name: 'an empty TXT',
    rfc: '1035 3.3.14',
    packet: ask('empty.alice.p2p', 'TXT'),
    expect: ok('empty.alice.p2p TXT 00'),
  },
  {
    name: 'SRV is not compressed',
    rfc: '2782',
    packet: ask('_sip._tcp.alice.p2p', 'SRV'),
    expect: { rcode: 0, answer: [`_sip._tcp.alice.p2p SRV 000a000513c4${mail}`] },
  },
  {
    name: 'CAA',
    rfc: '8659 4.1',
    packet: ask('alice.p2p', 'CAA'),
    expect: ok('alice.p2p CAA 0005697373756563612e6578616d706c652e6e6574'),
  },
  {
    name: 'SOA',
    rfc: '1035 3.3.13',
    packet: ask('alice.p2p', 'SOA'),
    expect: { rcode: 0, flags: 'aa rd ra', answer: ['alice.p2p SOA minimum 300'], authority: [] },
  },
  { name: 'SOA of a name that is no apex', rfc: '2308 2.2', packet: ask('mail.alice.p2p', 'SOA'), expect: nodata },
  {
    name: 'a TTL is that of the zone',
    rfc: '1035 3.2.1',
    packet: ask('ttl.alice.p2p'),
    expect: { rcode: 0, ttls: [60] },
  },
  {
    name: 'all of a set have one TTL',
    rfc: '2181 5.2',
    packet: ask('alice.p2p'),
    expect: { rcode: 0, ttls: [300, 300] },
  },
  {
    name: 'a label of 63 bytes',
    rfc: '1035 3.1',
    packet: ask(`${long}.alice.p2p`),
    expect: ok(`${long}.alice.p2p A 192.0.2.63`),
  },
  { name: 'a deep name', rfc: '1034 3.1', packet: ask('a.b.c.alice.p2p'), expect: ok('a.b.c.alice.p2p A 192.0.2.3') },

  { name: 'upper case is the same name', rfc: '4343 3', packet: ask('ALICE.P2P'), expect: ok(...alice) },
  {
    name: 'the case of the question is kept',
    rfc: '4343 4.1',
    packet: ask('aLiCe.P2p'),
    expect: { rcode: 0, owners: ['aLiCe.P2p', 'aLiCe.P2p'] },
  },
  {
    name: 'case below an apex',
    rfc: '4343 3',
    packet: ask('A.b.C.aLICE.p2p'),
    expect: ok('a.b.c.alice.p2p A 192.0.2.3'),
  },
  { name: 'only ASCII has case', rfc: '4343 2.1', packet: ask('\xc9.alice.p2p'), expect: { rcode: 3 } },
  {
    name: 'a dot inside a label is no separator',
    rfc: '4343 2.1',
    packet: message(Buffer.concat([Buffer.from('\x09www.alice\x03p2p\0', 'latin1'), u16(1, 1)])),
    expect: { rcode: 3, answer: [] },
  },
  {
    name: 'a zero byte inside a label',
    rfc: '2181 11',
    packet: ask('a\0b.alice.p2p'),
    expect: { rcode: 3, answer: [] },
  },
  {
    name: 'a star is a label like any other',
    rfc: '4592 2.3',
    packet: ask('*.alice.p2p'),
    expect: { rcode: 3, answer: [] },
  },
  {
    name: 'a label that looks like the apex',
    rfc: '4343 2.1',
    packet: message(Buffer.concat([Buffer.from('\x09alice.p2p\0', 'latin1'), u16(1, 1)])),
    expect: { rcode: 5, answer: [] },
  },

  { name: 'no such type', rfc: '2308 2.2', packet: ask('mail.alice.p2p', 'AAAA'), expect: nodata },
  { name: 'no such name', rfc: '2308 2.1', packet: ask('x.alice.p2p'), expect: nxdomain },
  {
    name: 'the SOA of a negative answer has the negative TTL',
    rfc: '2308 3',
    packet: ask('x.alice.p2p', 'TXT'),
    expect: nxdomain,
  },
  { name: 'below a name that does not exist', rfc: '8020 2', packet: ask('z.y.x.alice.p2p'), expect: nxdomain },
  { name: 'below a name that exists', rfc: '1034 4.3.2', packet: ask('x.mail.alice.p2p'), expect: nxdomain },
  { name: 'an empty name between others exists', rfc: '8020 2', packet: ask('deep.alice.p2p'), expect: nodata },
  { name: 'and so does one two levels up', rfc: '8020 2', packet: ask('c.alice.p2p', 'TXT'), expect: nodata },
  { name: 'beside it there is nothing', rfc: '8020 2', packet: ask('d.c.alice.p2p'), expect: nxdomain },
  { name: 'the parent of service names exists', rfc: '8020 2', packet: ask('_tcp.alice.p2p', 'SRV'), expect: nodata },
  { name: 'a name that nobody has', rfc: '2308 2.1', packet: ask('nobody.p2p'), expect: none(3, 'p2p SOA minimum 30') },
  {
    name: 'below a name that nobody has',
    rfc: '8020 2',
    packet: ask('www.nobody.p2p'),
    expect: none(3, 'p2p SOA minimum 30'),
  },
  { name: 'the suffix itself', rfc: '8020 2', packet: ask('p2p'), expect: none(0, 'p2p SOA minimum 30') },
  { name: 'SOA of the suffix', rfc: '2308 2.2', packet: ask('p2p', 'SOA'), expect: ok('p2p SOA minimum 30') },
  { name: 'an unknown type', rfc: '8906 3.1.2', packet: ask('alice.p2p', 'TYPE1000'), expect: nodata },
  { name: 'a type of private use', rfc: '8906 8.1.2', packet: ask('alice.p2p', 'TYPE65535'), expect: nodata },
  {
    name: 'DS is a type like any other here',
    rfc: '4035 3.1.4.1',
    packet: ask('mail.alice.p2p', 'TYPE43'),
    expect: nodata,
  },
]
