import assert from 'node:assert/strict'
import { test } from 'node:test'
import dnsPacket from 'dns-packet'
import fc from 'fast-check'
import { rrFromText } from '../../node/core/rdata.ts'
import { toTemplate } from '../../resolver/answer.ts'
import {
  asksFor,
  canonicalQuestion,
  extendedError,
  fill,
  labelsOf,
  type Query,
  readQuery,
} from '../../resolver/wire.ts'
import { decode, query } from './harness.ts'

function read(packet: Buffer): Query {
  const result = readQuery(packet)
  assert.ok(!('drop' in result), 'it cannot be read')
  return result
}

function refusal(packet: Buffer): number | 'drop' {
  const result = readQuery(packet)
  assert.ok('drop' in result, 'it can be read')
  return result.drop ? 'drop' : result.rcode
}

test('name, type, class and EDNS are read', () => {
  const asked = read(query('wWw.Alice.p2p', { type: 28, edns: 1400, dnssecOk: true }))
  assert.deepEqual(labelsOf(asked), ['www', 'alice', 'p2p'])
  assert.deepEqual([asked.type, asked.class, asked.edns], [28, 1, { payload: 1400, version: 0, dnssecOk: true }])
  assert.equal(read(query('a.p2p')).edns, undefined)
  assert.deepEqual(labelsOf(read(query(''))), [])
})

test('what dns-packet writes is read the same', () => {
  fc.assert(
    fc.property(fc.domain(), fc.nat({ max: 65_535 }), (name, id) => {
      const packet = dnsPacket.encode({
        type: 'query',
        id,
        flags: dnsPacket.RECURSION_DESIRED,
        questions: [{ type: 'AAAA', name }],
      })
      const asked = read(packet)
      assert.deepEqual([labelsOf(asked).join('.'), asked.type, asked.end], [name.toLowerCase(), 28, packet.length])
    }),
  )
})

test('case makes no difference to what is asked, any other byte does', () => {
  const wire = (packet: Buffer) => Buffer.concat([Buffer.alloc(12), canonicalQuestion(read(packet))])
  const stored = wire(query('alice.p2p', { type: 65 }))
  assert.ok(asksFor(read(query('ALICE.p2P', { type: 65 })), stored))
  assert.equal(read(query('ALICE.p2P')).hash, read(query('alice.p2p')).hash)
  // Type 65 is the letter A, 97 is a.
  assert.ok(!asksFor(read(query('alice.p2p', { type: 97 })), stored))
  assert.ok(!asksFor(read(query('alice.p2')), stored))
  assert.ok(!asksFor(read(query('alice.p2pp', { type: 65 })), stored))
  assert.ok(!asksFor(read(query('\xc0lice.p2p')), wire(query('\xe0lice.p2p'))))
})

test('responses and scraps are dropped', () => {
  assert.equal(refusal(query('a.p2p', { flags: 0x8000 })), 'drop')
  for (let length = 0; length < 12; length++) assert.equal(refusal(query('a.p2p').subarray(0, length)), 'drop')
})

test('another opcode is not implemented', () => {
  for (let opcode = 1; opcode < 16; opcode++) assert.equal(refusal(query('a.p2p', { flags: opcode << 11 })), 4)
})

test('every other defect is a format error', () => {
  const good = query('a.p2p', { edns: 1232 })
  for (let length = 12; length < good.length; length++)
    assert.equal(refusal(good.subarray(0, length)), 1, `cut at ${length}`)
  const patched = (at: number, value: number) => {
    const packet = Buffer.from(good)
    packet[at] = value
    return packet
  }
  const opt = query('a.p2p', { edns: 1232 }).subarray(query('a.p2p').length)
  const twice = Buffer.concat([good, opt])
  twice[11] = 2
  const defects: Record<string, Buffer> = {
    'no question': patched(5, 0),
    'two questions': patched(5, 2),
    'an answer': patched(7, 1),
    'an authority': patched(9, 1),
    'a missing additional': patched(11, 2),
    'bytes left over': Buffer.concat([good, Buffer.alloc(1)]),
    'two OPTs': twice,
    'an OPT with a name': Buffer.concat([query('a.p2p', { edns: 0 }).subarray(0, 23), Buffer.from([1, 97]), opt]),
    'options that overrun': Buffer.concat([good.subarray(0, -2), Buffer.from([0, 5, 0, 10, 0, 2, 1])]),
    'an OPT that overruns': patched(good.length - 1, 1),
    'a pointer in the question': Buffer.concat([good.subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]),
    'a label of 64': Buffer.concat([
      good.subarray(0, 12),
      Buffer.from([64]),
      Buffer.alloc(64, 97),
      Buffer.from([0, 0, 1, 0, 1]),
    ]),
    'a name of 256': query(Array.from({ length: 128 }, () => 'a').join('.')),
  }
  for (const [what, packet] of Object.entries(defects)) assert.equal(refusal(packet), 1, what)
  assert.ok(read(query(Array.from({ length: 127 }, () => 'a').join('.'))))
})

test('random bytes are read or refused, never more', () => {
  const withHead = fc
    .uint8Array({ maxLength: 300 })
    .map((junk) => Buffer.concat([Buffer.from('123401000001000000000001', 'hex'), junk]))
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 600 }).map((junk) => Buffer.from(junk)),
        withHead,
      ),
      (packet) => {
        const result = readQuery(packet)
        if (!('drop' in result)) assert.ok(result.end <= packet.length && labelsOf(result).length < 128)
      },
    ),
    { numRuns: 3_000 },
  )
})

const many = Array.from({ length: 40 }, (_, i) => ({
  ...rrFromText({ type: 'TXT', data: `${i}`.padEnd(50) }),
  // Two of each set.
  name: `big${i >> 1}.p2p`,
}))

test('an answer that is too long is cut between sets of records and says so', () => {
  const asked = read(query('BIG.p2p', { type: 16, edns: 1232 }))
  const template = toTemplate(asked, { rcode: 0, answers: many, authority: [], ede: undefined, lifetime: 60 })
  for (let limit = 512; limit <= 1232; limit += 7) {
    const packet = fill(asked, template, limit)
    const cut = decode(packet)
    assert.ok(packet.length <= limit && packet.length > limit - 160, `${packet.length} of ${limit}`)
    assert.ok(cut.flag_tc && (cut.answers?.length ?? 1) % 2 === 0)
    assert.equal(cut.additionals?.length, 1, 'the OPT stays')
  }
  const whole = decode(fill(asked, template, 65_535))
  assert.deepEqual([whole.flag_tc, whole.answers?.length, whole.questions?.[0]?.name], [false, 40, 'BIG.p2p'])
})

test('an extended error goes before any record does', () => {
  const asked = read(query('big.p2p', { edns: 1232 }))
  const ede = extendedError(3, 'x'.repeat(100))
  const template = toTemplate(asked, { rcode: 0, answers: many.slice(0, 2), authority: [], ede, lifetime: 60 })
  const size = fill(asked, template, 1232).length
  assert.equal(decode(fill(asked, template, size)).options.length, 1)
  const tight = decode(fill(asked, template, size - 1))
  assert.deepEqual([tight.flag_tc, tight.answers?.length, tight.options.length], [false, 2, 0])
})

test('the question comes back byte for byte, in the case and with the bytes that it had', () => {
  const packet = query('aLiCe\xff\x00 ."x.P2p', { id: 0xabcd, edns: 1232 })
  const asked = read(packet)
  const template = toTemplate(asked, { rcode: 3, answers: [], authority: [], ede: undefined, lifetime: 1 })
  const response = fill(asked, template, 512)
  assert.deepEqual(response.subarray(12, asked.end), packet.subarray(12, asked.end))
  assert.deepEqual(response.subarray(0, 2), packet.subarray(0, 2))
})

test('RD and CD are the asker’s, DO is echoed, and an OPT comes only to who sent one', () => {
  const answer = { rcode: 0, answers: many.slice(0, 1), authority: [], ede: extendedError(3, 'old'), lifetime: 1 }
  const responseTo = (packet: Buffer) => decode(fill(read(packet), toTemplate(read(packet), answer), 1232))
  const plain = responseTo(query('a.p2p', { flags: 0 }))
  assert.deepEqual([plain.flag_rd, plain.flag_cd, plain.additionals], [false, false, []])
  const rich = responseTo(query('a.p2p', { flags: 0x0110, edns: 4096, dnssecOk: true }))
  assert.deepEqual(
    [rich.flag_rd, rich.flag_cd, rich.flag_aa, rich.flag_ra, rich.flag_ad],
    [true, true, true, true, false],
  )
  const [opt] = rich.additionals ?? []
  assert.ok(opt?.type === 'OPT' && opt.flag_do && opt.udpPayloadSize === 1232)
  assert.equal(rich.options[0]?.data?.toString('latin1'), '\x00\x03old')
})

test('the text of an extended error is short and never ends inside a character', () => {
  assert.equal(Buffer.byteLength(extendedError(0, 'ä'.repeat(200)).text), 120)
  assert.equal(extendedError(0, `x${'ä'.repeat(200)}`).text, `x${'ä'.repeat(59)}`)
})
