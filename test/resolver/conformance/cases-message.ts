/** The message itself: header, question, malformed packets, what is refused. */
import { ask, message, opt, record, u16, wireName } from './packet.ts'
import type { Case, Expect } from './run.ts'

const alice = ['alice.p2p A 192.0.2.1', 'alice.p2p A 192.0.2.2']
const ok: Expect = { rcode: 0, flags: 'aa rd ra', answer: alice, authority: [], additional: [], opt: null }
/** A header and nothing more. */
const bare = (rcode: number): Expect => ({ rcode, question: '', answer: [], authority: [], opt: null })
const refused: Expect = { rcode: 5, flags: 'rd', answer: [], authority: [], opt: null }
const raw = (name: Buffer, rest = u16(1, 1)): Buffer => message(Buffer.concat([name, rest]), { counts: [1, 0, 0, 0] })
const labels = (...sizes: number[]): Buffer =>
  Buffer.concat([...sizes.flatMap((size) => [Buffer.from([size]), Buffer.alloc(size, 0x61)]), Buffer.alloc(1)])

export const messageCases: Case[] = [
  { name: 'two addresses', rfc: '1034 4.3.2', packet: ask('alice.p2p'), expect: ok },
  { name: 'id 0', rfc: '1035 4.1.1', packet: withId(0), expect: ok },
  { name: 'id 65535', rfc: '1035 4.1.1', packet: withId(0xffff), over: 'tcp', expect: ok },
  {
    name: 'RD clear is echoed clear',
    rfc: '1035 4.1.1',
    packet: ask('alice.p2p', 'A', { flags: 0 }),
    expect: { ...ok, flags: 'aa ra' },
  },
  {
    name: 'AA, TC and RA in a query mean nothing',
    rfc: '1035 4.1.1',
    packet: ask('alice.p2p', 'A', { flags: 0x0780 }),
    expect: ok,
  },
  { name: 'the Z bit is not echoed', rfc: '8906 3.1.3', packet: ask('alice.p2p', 'A', { flags: 0x0140 }), expect: ok },
  {
    name: 'an RCODE in a query means nothing',
    rfc: '1035 4.1.1',
    packet: ask('alice.p2p', 'A', { flags: 0x0105 }),
    expect: ok,
  },
  {
    name: 'CD is echoed',
    rfc: '4035 3.2.2',
    packet: ask('alice.p2p', 'A', { flags: 0x0110 }),
    expect: { ...ok, flags: 'aa rd ra cd' },
  },
  {
    name: 'AD in a query is no AD in the answer, nothing being validated',
    rfc: '6840 5.7',
    packet: ask('alice.p2p', 'A', { flags: 0x0120 }),
    expect: ok,
  },
  { name: 'a response is dropped', rfc: '8906 1', packet: ask('alice.p2p', 'A', { flags: 0x8100 }), expect: 'nothing' },
  {
    name: 'a response with an error is dropped',
    rfc: '8906 1',
    packet: ask('alice.p2p', 'A', { flags: 0x8105 }),
    expect: 'nothing',
  },
  {
    name: 'a response of another opcode is dropped',
    rfc: '8906 1',
    packet: ask('alice.p2p', 'A', { flags: 0xa900 }),
    expect: 'nothing',
  },
  { name: 'no byte', rfc: '1035 4.1.1', packet: Buffer.alloc(0), over: 'udp', expect: 'nothing' },
  { name: 'one byte', rfc: '1035 4.1.1', packet: Buffer.from('x'), expect: 'nothing' },
  { name: 'half a header', rfc: '1035 4.1.1', packet: ask('alice.p2p').subarray(0, 11), expect: 'nothing' },
  ...[1, 2, 3, 4, 5, 6, 15].map(
    (opcode): Case => ({
      name: `opcode ${opcode}`,
      rfc: '8906 3.1.4',
      packet: ask('alice.p2p', 'A', { flags: opcode << 11 }),
      expect: { ...(bare(4) as object), opcode, flags: '' },
    }),
  ),
  {
    name: 'an unknown opcode without a question',
    rfc: '8906 8.1.4',
    packet: message(Buffer.alloc(0), { flags: 15 << 11 }),
    expect: { ...(bare(4) as object), opcode: 15 },
  },
  { name: 'no question', rfc: '9619 4', packet: message(Buffer.alloc(0)), expect: bare(1) },
  {
    name: 'two questions',
    rfc: '9619 4',
    packet: message(Buffer.concat([wireName('alice.p2p'), u16(1, 1), wireName('bob.p2p'), u16(1, 1)]), {
      counts: [2, 0, 0, 0],
    }),
    expect: bare(1),
  },
  {
    name: 'the same question twice',
    rfc: '9619 4',
    packet: message(Buffer.concat([wireName('alice.p2p'), u16(1, 1), wireName('alice.p2p'), u16(1, 1)]), {
      counts: [2, 0, 0, 0],
    }),
    expect: bare(1),
  },
  {
    name: '65535 questions',
    rfc: '9619 4',
    packet: ask('alice.p2p', 'A', { counts: [65_535, 0, 0, 0] }),
    expect: bare(1),
  },
  {
    name: 'a question that is announced and missing',
    rfc: '1035 4.1.2',
    packet: message(Buffer.alloc(0), { counts: [1, 0, 0, 0] }),
    expect: bare(1),
  },
  {
    name: 'a question without its class',
    rfc: '1035 4.1.2',
    packet: raw(wireName('alice.p2p'), u16(1)),
    expect: bare(1),
  },
  {
    name: 'a name that does not end',
    rfc: '1035 3.1',
    packet: raw(wireName('alice.p2p').subarray(0, -1), Buffer.alloc(0)),
    expect: bare(1),
  },
  { name: 'a label of 64 bytes', rfc: '1035 3.1', packet: raw(labels(64)), expect: bare(1) },
  {
    name: 'a label type that is extended (0x41)',
    rfc: '6891 5',
    packet: raw(Buffer.from([0x41, 1, 0])),
    expect: bare(1),
  },
  { name: 'a name of 256 bytes', rfc: '1035 3.1', packet: raw(labels(63, 63, 63, 62)), expect: bare(1) },
  { name: 'a name of 255 bytes is one', rfc: '1035 3.1', packet: raw(labels(63, 63, 63, 61)), expect: refused },
  { name: 'a pointer to itself', rfc: '1035 4.1.4', packet: raw(Buffer.from([0xc0, 12])), expect: bare(1) },
  { name: 'a pointer into the header', rfc: '1035 4.1.4', packet: raw(Buffer.from([0xc0, 2])), expect: bare(1) },
  { name: 'a pointer beyond the end', rfc: '1035 4.1.4', packet: raw(Buffer.from([0xff, 0xff])), expect: bare(1) },
  {
    name: 'a pointer in a loop of two',
    rfc: '1035 4.1.4',
    packet: raw(Buffer.from([1, 0x61, 0xc0, 12])),
    expect: bare(1),
  },
  {
    name: 'a byte behind the message',
    rfc: '1035 4.1',
    packet: ask('alice.p2p', 'A', { tail: Buffer.alloc(1) }),
    expect: bare(1),
  },
  {
    name: 'an answer in a query',
    rfc: '1035 4.1',
    packet: ask('alice.p2p', 'A', { records: [record('alice.p2p', 'A', Buffer.alloc(4))], counts: [1, 1, 0, 0] }),
    expect: bare(1),
  },
  {
    name: 'an additional record that is announced and missing',
    rfc: '1035 4.1',
    packet: ask('alice.p2p', 'A', { counts: [1, 0, 0, 1] }),
    expect: bare(1),
  },
  {
    name: 'an additional record whose data overruns',
    rfc: '1035 4.1.3',
    packet: ask('alice.p2p', 'A', { records: [record('x', 'A', Buffer.alloc(4)).subarray(0, -1)] }),
    expect: bare(1),
  },
  {
    name: 'another additional record is passed over',
    rfc: '1035 4.1',
    packet: ask('alice.p2p', 'A', { records: [record('x', 'A', Buffer.alloc(4))] }),
    expect: ok,
  },
  { name: 'class CH', rfc: '1035 3.2.4', packet: ask('alice.p2p', 'A', { class: 3 }), expect: refused },
  { name: 'class ANY', rfc: '1035 3.2.5', packet: ask('alice.p2p', 'A', { class: 255 }), expect: refused },
  { name: 'class NONE', rfc: '6895 3.2', packet: ask('alice.p2p', 'A', { class: 254 }), expect: refused },
  {
    name: 'version.bind is nobody’s business',
    rfc: '4892 2',
    packet: ask('version.bind', 'TXT', { class: 3 }),
    expect: refused,
  },
  { name: 'AXFR', rfc: '5936 2.2.1', packet: ask('alice.p2p', 'TYPE252'), expect: refused },
  { name: 'IXFR', rfc: '1995 2', packet: ask('alice.p2p', 'TYPE251'), expect: refused },
  { name: 'MAILB', rfc: '6895 3.1', packet: ask('alice.p2p', 'TYPE253'), expect: refused },
  { name: 'TSIG as a question', rfc: '8945 4.2', packet: ask('alice.p2p', 'TYPE250'), expect: refused },
  { name: 'OPT as a question', rfc: '6891 6.1.1', packet: ask('alice.p2p', 'OPT'), expect: { rcode: 1, answer: [] } },
  { name: 'another name without an upstream', rfc: '8906 3.1.1', packet: ask('example.com'), expect: refused },
  { name: 'the root without an upstream', rfc: '8906 3.1.1', packet: ask(''), expect: refused },
  {
    name: 'a refusal says why',
    rfc: '8914 4.21',
    packet: ask('example.com', 'A', { records: [opt()] }),
    expect: { rcode: 5, options: ['15:0014'] },
  },
  {
    name: 'a refusal of a transfer says why',
    rfc: '8914 4.22',
    packet: ask('alice.p2p', 'TYPE252', { records: [opt()] }),
    expect: { rcode: 5, options: ['15:0015'] },
  },
]

function withId(id: number): Buffer {
  const packet = ask('alice.p2p')
  packet.writeUInt16BE(id)
  return packet
}
