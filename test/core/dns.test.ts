import assert from 'node:assert/strict'
import { test } from 'node:test'
import dnsPacket from 'dns-packet'
import fc from 'fast-check'
import {
  checkRdata,
  DnsWriter,
  mapRdataNames,
  nameToWire,
  type Rr,
  readName,
  readRecords,
} from '../../node/core/dns.ts'
import { isError } from '../../node/core/errors.ts'
import { TYPE } from '../../node/core/rdata.ts'

const malformed = (error: unknown) => isError(error, 'malformed')
const HEADER = Buffer.from('000080000000000000000000', 'hex')

/** A message of a header and these bytes. */
function message(...parts: (string | Uint8Array)[]): Buffer {
  return Buffer.concat([HEADER, ...parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'hex') : part))])
}

const label = fc.uint8Array({ minLength: 1, maxLength: 63 })
const labels = fc
  .array(label, { maxLength: 6 })
  .filter((all) => all.reduce((sum, one) => sum + one.length + 1, 1) <= 255)

function wireOf(all: Uint8Array[]): Buffer {
  return Buffer.concat([...all.flatMap((one) => [Buffer.from([one.length]), one]), Buffer.from([0])])
}

const LIMIT = 65_535

test('any bytes in a label survive the way to text and back, lower-cased', () => {
  fc.assert(
    fc.property(labels, (all) => {
      const wire = wireOf(all)
      const { name, end } = readName(message(wire), 12)
      assert.equal(end, 12 + wire.length)
      const folded = all.map((one) => one.map((byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte)))
      assert.deepEqual(Buffer.from(nameToWire(name)), wireOf(folded))
    }),
  )
})

test('a dot inside a label is never mistaken for one between labels', () => {
  const { name } = readName(message(wireOf([Buffer.from('a.b'), Buffer.from('c\\')])), 12)
  assert.equal(name, 'a\\.b.c\\\\')
  assert.notDeepEqual(nameToWire(name), nameToWire('a.b.c'))
})

test('a label has at most 63 bytes and a name at most 255', () => {
  assert.equal(nameToWire('a'.repeat(63)).length, 65)
  assert.throws(() => nameToWire('a'.repeat(64)), malformed)
  assert.equal(nameToWire(Array.from({ length: 127 }, () => 'a').join('.')).length, 255)
  assert.throws(() => nameToWire(Array.from({ length: 128 }, () => 'a').join('.')), malformed)
  assert.throws(() => nameToWire('a'.repeat(100_000)), malformed)
  for (const name of ['.', 'a..b', '.a', 'a\\', 'a\\25', 'a\\999', 'a\u0101'])
    assert.throws(() => nameToWire(name), malformed)
})

test('a pointer that leads forwards, to itself, into the header or around in a loop is refused', () => {
  for (const hex of ['c00c', 'c00e0161c00c', '0161c00c', 'c003', 'c0', '4161', '8161', '0161', '3f61', '']) {
    assert.throws(() => readName(message(hex), 12), malformed, hex)
  }
  assert.throws(() => readName(message('0161c010', '0162c00c'), 16), malformed)
})

test('a chain of pointers cannot make a name longer than 255 bytes', () => {
  const hop = 'a'.repeat(63)
  let bytes = message(wireOf([Buffer.from(hop)]))
  for (let i = 0, last = 12; i < 4; i++) {
    const at = bytes.length
    bytes = Buffer.concat([bytes, Buffer.from([63]), Buffer.from(hop), Buffer.from([0xc0, last])])
    if (i === 3) assert.throws(() => readName(bytes, at), malformed)
    last = at
  }
})

const host = fc.constantFrom('a.example', 'b.example', 'www.a.example', 'example', 'x.y.z', '')
const rr: fc.Arbitrary<Rr> = fc.oneof(
  fc.record({ name: host, ttl: fc.nat(), type: fc.constant(1), rdata: fc.uint8Array({ minLength: 4, maxLength: 4 }) }),
  fc.record({ name: host, ttl: fc.nat(), type: fc.constantFrom(2, 5, 12), rdata: host.map(nameToWire) }),
  fc.record({
    name: host,
    ttl: fc.nat(),
    type: fc.constant(15),
    rdata: host.map((to) => Buffer.concat([Buffer.from([0, 9]), nameToWire(to)])),
  }),
  fc.record({
    name: host,
    ttl: fc.nat(),
    type: fc.constant(33),
    rdata: host.map((to) => Buffer.concat([Buffer.alloc(6, 1), nameToWire(to)])),
  }),
  fc.record({ name: host, ttl: fc.nat(), type: fc.constant(65_280), rdata: fc.uint8Array({ maxLength: 300 }) }),
)

function write(rrs: Rr[]): Buffer {
  const head = Buffer.from(HEADER)
  head.writeUInt16BE(rrs.length, 6)
  const writer = new DnsWriter(head)
  for (const one of rrs) writer.record(one)
  return writer.bytes()
}

test('what is written compressed is read back the same, by us and by dns-packet', () => {
  fc.assert(
    fc.property(fc.array(rr, { maxLength: 20 }), (rrs) => {
      const bytes = write(rrs)
      const { rrs: read, end } = readRecords(bytes, 12, rrs.length, LIMIT)
      assert.equal(end, bytes.length)
      assert.deepEqual(
        read.map((one) => ({ ...one, rdata: Buffer.from(one.rdata) })),
        rrs.map((one) => ({ ...one, rdata: Buffer.from(one.rdata) })),
      )
      const oracle = dnsPacket.decode(bytes)
      assert.deepEqual(
        oracle.answers?.map((one) => one.name),
        rrs.map((one) => one.name || '.'),
      )
    }),
  )
})

test('names are compressed as owners and in the types of RFC 1035, never inside an SRV', () => {
  const owner = 'service.example.org'
  const a: Rr = { name: owner, type: TYPE.A, ttl: 1, rdata: Buffer.alloc(4) }
  assert.equal(write([a, a]).length - write([a]).length, 2 + 10 + 4)
  const mx: Rr = { name: owner, type: TYPE.MX, ttl: 1, rdata: Buffer.concat([Buffer.alloc(2), nameToWire(owner)]) }
  assert.equal(write([a, mx]).length - write([a]).length, 2 + 10 + 2 + 2)
  const srv: Rr = { name: owner, type: TYPE.SRV, ttl: 1, rdata: Buffer.concat([Buffer.alloc(6), nameToWire(owner)]) }
  assert.equal(write([a, srv]).length - write([a]).length, 2 + 10 + 6 + 21)
})

test('no pointer is written to an offset beyond its 14 bits', () => {
  const big: Rr = { name: '', type: TYPE.CAA, ttl: 1, rdata: Buffer.alloc(17_000) }
  const late: Rr = { name: 'late.example', type: TYPE.A, ttl: 1, rdata: Buffer.alloc(4) }
  const { rrs } = readRecords(write([big, late, late]), 12, 3, LIMIT)
  assert.deepEqual(
    rrs.map((one) => one.name),
    ['', 'late.example', 'late.example'],
  )
})

test('a compressed name inside an SRV is read, though we never write one', () => {
  const bytes = message('016100', '00210001', '0000003c', '0008', '000100020003', 'c00c')
  const { rrs } = readRecords(bytes, 12, 1, LIMIT)
  assert.equal(Buffer.from(rrs[0]?.rdata ?? []).toString('hex'), '000100020003016100')
})

test('data that does not have the form of its type is refused', () => {
  const bad: [number, string][] = [
    [TYPE.A, '010203'],
    [TYPE.A, '0102030405'],
    [TYPE.AAAA, '00'],
    [TYPE.TXT, ''],
    [TYPE.TXT, '0261'],
    [TYPE.CNAME, '0161'],
    [TYPE.CNAME, '01610000'],
    [TYPE.MX, '0001'],
    [TYPE.SRV, '000100020003'],
    [TYPE.SOA, '000000'],
    [TYPE.CNAME, 'c00c'],
  ]
  for (const [type, hex] of bad)
    assert.throws(() => checkRdata(type, Buffer.from(hex, 'hex')), malformed, `${type} ${hex}`)
})

test('a record of another class, or one that runs past the end, is refused; a negative TTL is zero', () => {
  assert.throws(() => readRecords(message('00', '00010003', '00000000', '0004', '01020304'), 12, 1, LIMIT), malformed)
  assert.throws(() => readRecords(message('00', '00010001', '00000000', '0005', '01020304'), 12, 1, LIMIT), malformed)
  assert.throws(() => readRecords(message('00', '00010001', '0000'), 12, 1, LIMIT), malformed)
  assert.throws(() => readRecords(message(), 12, 1, LIMIT), malformed)
  assert.equal(readRecords(message('00', '00010001', '80000001', '0004', '01020304'), 12, 1, LIMIT).rrs[0]?.ttl, 0)
})

test('names inside data can be replaced, all else stays', () => {
  const srv = Buffer.concat([Buffer.from('000100020003', 'hex'), nameToWire('www.old')])
  const mapped = mapRdataNames(TYPE.SRV, srv, (name) => name.replace('old', 'newer'))
  assert.deepEqual(Buffer.from(mapped), Buffer.concat([srv.subarray(0, 6), nameToWire('www.newer')]))
})

test('random bytes are refused with our own error or read, never anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat({ max: 20 }), (bytes, count) => {
      try {
        readRecords(message(bytes), 12, count, LIMIT)
      } catch (error) {
        assert.ok(malformed(error), String(error))
      }
    }),
    { numRuns: 2_000 },
  )
})
