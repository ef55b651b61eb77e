import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import dnsPacket from 'dns-packet'
import fc from 'fast-check'
import { concat, equalBytes, toHex, toZ32, utf8 } from '../../node/core/encoding.ts'
import { type ErrorCode, isError } from '../../node/core/errors.ts'
import { keyPairFromSeed, verify } from '../../node/core/keys.ts'
import { rrFromText, rrToText, TYPE } from '../../node/core/rdata.ts'
import {
  lookupInZone,
  MAX_ZONE_BYTES,
  newerZone,
  parseZone,
  rrUnder,
  signZone,
  type Zone,
  zoneDhtKey,
} from '../../node/core/zone.ts'

const pair = keyPairFromSeed(new Uint8Array(32).fill(1))
const apex = toZ32(pair.publicKey)
const SEQ = 1_700_000_000_000_000n
const NOW = 1_700_000_000_000

const records = [
  { type: 'A', data: '192.0.2.1' },
  { type: 'TXT', data: 'hello' },
  { label: 'www', type: 'CNAME', data: apex },
  { label: '_http._tcp', type: 'SRV', data: `0 0 8080 www.${apex}` },
  { label: '_dnslink', type: 'TXT', data: 'dnslink=/p2pns/x' },
]
const zone = signZone(pair, SEQ, records.map(rrFromText))

function refused(code: ErrorCode) {
  return (error: unknown) => isError(error, code)
}

/** A correctly signed record around any DNS packet. */
function wrap(packet: Uint8Array, seq = SEQ): Uint8Array {
  const signature = pair.sign(concat(utf8(`3:seqi${seq}e1:v${packet.length}:`), packet))
  const seqBytes = Buffer.alloc(8)
  seqBytes.writeBigUInt64BE(seq)
  return concat(pair.publicKey, signature, seqBytes, packet)
}

test('a signed zone reads back as it was', () => {
  const read = parseZone(zone.bytes, { key: pair.publicKey, now: NOW })
  assert.deepEqual(read, zone)
  assert.deepEqual(
    read.rrs.map((rr) => [rr.name, rr.type, rr.ttl]),
    [
      ['', 1, 300],
      ['', 16, 300],
      ['www', 5, 300],
      ['_http._tcp', 33, 300],
      ['_dnslink', 16, 300],
    ],
  )
})

test('the worked example of docs/spec/zone.md is what we sign', () => {
  const spec = readFileSync(new URL('../../docs/spec/zone.md', import.meta.url), 'utf8')
  const [, hex = ''] = /```hex\n([0-9a-f\s]+)```/.exec(spec) ?? []
  const example = Buffer.from(hex.replace(/\s/g, ''), 'hex')
  assert.equal(toHex(zone.bytes), toHex(example))
  assert.deepEqual(parseZone(example, {}).rrs, zone.rrs)
})

test('the packet is what Pkarr expects: a response, its answers under the key as top-level domain', () => {
  const packet = dnsPacket.decode(Buffer.from(zone.bytes.subarray(104)))
  assert.equal(packet.type, 'response')
  assert.equal(packet.id, 0)
  assert.deepEqual(
    packet.answers?.map((answer) => answer.name),
    [apex, apex, `www.${apex}`, `_http._tcp.${apex}`, `_dnslink.${apex}`],
  )
  const uncompressed = dnsPacket.encode({ type: 'response', answers: packet.answers ?? [] })
  assert.ok(zone.bytes.length - 104 < uncompressed.length - 150)
})

test('the signature covers the BEP 44 form, as the vectors of that BEP do', () => {
  const vectors = JSON.parse(readFileSync(new URL('../vectors/bep44.json', import.meta.url), 'utf8'))
  const [{ k, sig, signed }] = vectors.mutable
  assert.ok(verify(Buffer.from(k, 'hex'), utf8(signed), Buffer.from(sig, 'hex')))
  const packet = zone.bytes.subarray(104)
  const ours = concat(utf8(`3:seqi${SEQ}e1:v${packet.length}:`), packet)
  assert.ok(verify(pair.publicKey, ours, zone.bytes.subarray(32, 96)))
})

test('a Pkarr packet without compression, or with AA, is read as well', () => {
  const answers = [{ name: `a.${apex.toUpperCase()}`, type: 'A' as const, ttl: 60, data: '192.0.2.7' }]
  const packet = dnsPacket.encode({ type: 'response', flags: dnsPacket.AUTHORITATIVE_ANSWER, answers })
  const read = parseZone(wrap(packet), { key: pair.publicKey, now: NOW })
  assert.deepEqual(
    read.rrs.map((rr) => rrToText(rr, 'b.p2p')),
    [{ name: 'a.b.p2p', type: 'A', ttl: 60, data: '192.0.2.7' }],
  )
})

test('an empty zone is a zone', () => {
  assert.deepEqual(parseZone(signZone(pair, 0n, []).bytes, { key: pair.publicKey }).rrs, [])
})

test('one flipped bit anywhere is refused', () => {
  fc.assert(
    fc.property(fc.nat({ max: zone.bytes.length * 8 - 1 }), (bit) => {
      const bytes = Buffer.from(zone.bytes)
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
      assert.throws(
        () => parseZone(bytes, {}),
        (error) => isError(error),
      )
    }),
    { numRuns: 500 },
  )
})

test('random bytes behind a good signature are refused or read, never anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat({ max: 4 }), (junk, answers) => {
      const head = Buffer.from('000080000000000000000000', 'hex')
      head.writeUInt16BE(answers, 6)
      try {
        parseZone(wrap(concat(head, junk)), {})
      } catch (error) {
        assert.ok(isError(error, 'malformed'), String(error))
      }
    }),
    { numRuns: 300 },
  )
})

test('each check refuses with its own error, the packet last', () => {
  const other = keyPairFromSeed(new Uint8Array(32).fill(2)).publicKey
  const unsigned = Buffer.from(zone.bytes).fill(0, 32, 96)
  assert.throws(() => parseZone(new Uint8Array(MAX_ZONE_BYTES + 1), {}), refused('too_large'))
  assert.throws(() => parseZone(zone.bytes.subarray(0, 115), {}), refused('malformed'))
  assert.throws(() => parseZone(unsigned, { key: other }), refused('key_mismatch'))
  assert.throws(() => parseZone(unsigned, { now: NOW - 600_001 }), refused('seq_in_future'))
  assert.throws(() => parseZone(unsigned, {}), refused('signature_invalid'))
  assert.throws(() => parseZone(concat(unsigned, Buffer.alloc(1)), {}), refused('signature_invalid'))
  assert.throws(() => parseZone(wrap(concat(zone.bytes.slice(104), Buffer.alloc(1))), {}), refused('malformed'))
  assert.ok(parseZone(zone.bytes, { now: NOW - 600_000 }))
  assert.throws(() => parseZone(wrap(zone.bytes.slice(104), 2n ** 63n), {}), refused('malformed'))
})

/** A packet of `count` RP records, both names in each of which are a pointer to one of 255 bytes. */
function expanding(count: number): Uint8Array {
  const head = Buffer.from('000080000000000000000000', 'hex')
  head.writeUInt16BE(count + 1, 6)
  const label = (size: number) => concat(Buffer.from([size]), Buffer.alloc(size, 'a'))
  const owner = concat(label(63), label(63), label(63), label(8), Buffer.from([52]), utf8(apex), Buffer.alloc(1))
  const first = concat(owner, Buffer.from('0001000100000e10000401020304', 'hex'))
  const rp = Buffer.from('c00c0011000100000e100004c00cc00c', 'hex')
  return concat(head, first, ...Array.from({ length: count }, () => rp))
}

test('names in data that a stranger compressed are not written out before the signature is checked', () => {
  const signed = wrap(expanding(485))
  assert.ok(signed.length <= MAX_ZONE_BYTES)
  const unsigned = Buffer.from(signed).fill(0, 32, 96)
  assert.throws(() => parseZone(unsigned, {}), refused('signature_invalid'))
})

test('records have at most 32 KiB when their names are written out, whoever signed them', () => {
  // The first has 259 bytes, each other one 3 times 255.
  assert.equal(parseZone(wrap(expanding(42)), {}).rrs.length, 43)
  assert.throws(() => parseZone(wrap(expanding(43)), {}), refused('too_large'))
  assert.throws(() => parseZone(wrap(expanding(485)), {}), refused('too_large'))
})

test('a record that speaks of another name, or is not a plain response, is refused though it is signed', () => {
  const answer = { type: 'A' as const, ttl: 60, data: '192.0.2.7' }
  const packet = (name: string) => dnsPacket.encode({ type: 'response', answers: [{ ...answer, name }] })
  for (const name of ['example.com', `x${apex}`, 'y', '.']) {
    assert.throws(() => parseZone(wrap(packet(name)), {}), refused('malformed'), name)
  }
  const good = packet(apex)
  for (const [at, value] of [
    [2, 0x00],
    [2, 0x88],
    [5, 1],
    [9, 1],
    [11, 1],
  ] as const) {
    const bad = Buffer.from(good)
    bad[at] = value
    assert.throws(() => parseZone(wrap(bad), {}), refused('malformed'), `byte ${at}`)
  }
})

test('a label that only looks like the end of a name under the key is refused', () => {
  const head = Buffer.from('000080000000000100000000', 'hex')
  const label = Buffer.from(`a.${apex}`)
  const rr = Buffer.from('00000100010000003c000401020304', 'hex')
  assert.throws(() => parseZone(wrap(concat(head, Buffer.from([label.length]), label, rr)), {}), refused('malformed'))
})

test('a zone over 8192 bytes is not signed', () => {
  const text = (bytes: number) => [rrFromText({ type: 'TXT', data: 'x'.repeat(bytes) })]
  assert.throws(() => signZone(pair, SEQ, text(8_200)), refused('too_large'))
  assert.ok(signZone(pair, SEQ, text(7_900)).bytes.length <= MAX_ZONE_BYTES)
})

test('the newer of two zones is the same whoever compares', () => {
  const of = (seq: bigint, data: string) => signZone(pair, seq, [rrFromText({ type: 'TXT', data })])
  const zones = [of(3n, 'a'), of(1n, 'z'), of(2n, 'b'), of(2n, 'a'), of(1n, 'zz')]
  const sorted = zones.toSorted(newerZone).map((one) => `${one.seq}${one.bytes.length}`)
  assert.deepEqual(
    zones
      .toReversed()
      .toSorted(newerZone)
      .map((one) => `${one.seq}${one.bytes.length}`),
    sorted,
  )
  assert.equal(newerZone(zones[0] as Zone, zones[0] as Zone), 0)
  assert.ok(newerZone(of(2n, 'z'), of(1n, 'a')) > 0)
  assert.ok(newerZone(of(2n, 'a'), of(2n, 'b')) < 0)
})

test('a lookup tells a name that exists from one that does not', () => {
  const look = (owner: string, type: number) => lookupInZone(zone, owner, type)
  assert.deepEqual(look('', TYPE.A), { status: 'answer', rrs: [zone.rrs[0]] })
  assert.equal(look('', TYPE.ANY).rrs.length, 2)
  assert.equal(look('', TYPE.AAAA).status, 'nodata')
  assert.equal(look('www', TYPE.A).status, 'cname')
  assert.equal(look('www', TYPE.CNAME).status, 'answer')
  assert.equal(look('_tcp', TYPE.A).status, 'nodata', 'a name above another exists')
  assert.equal(look('tcp', TYPE.A).status, 'nxdomain')
  assert.equal(look('x.www', TYPE.A).status, 'nxdomain')
  assert.equal(lookupInZone(signZone(pair, 0n, []), '', TYPE.A).status, 'nodata', 'the apex always exists')
})

test('names under the key are shown under the name that was asked for, others as they are', () => {
  const texts = zone.rrs.map((rr) => rrToText({ ...rrUnder(zone, rr, 'alice.p2p'), name: rr.name }, 'alice.p2p').data)
  assert.equal(texts[2], 'alice.p2p.')
  assert.equal(texts[3], '0 0 8080 www.alice.p2p.')
  assert.equal(rrUnder(zone, zone.rrs[2] as Zone['rrs'][0], 'alice.p2p').name, 'www.alice.p2p')
  const elsewhere = rrFromText({ type: 'CNAME', data: 'www.example.org' })
  assert.ok(equalBytes(rrUnder(zone, elsewhere, 'alice.p2p').rdata, elsewhere.rdata))
})

test('a zone is found under its key', () => {
  assert.deepEqual(Buffer.from(zoneDhtKey(pair.publicKey)), Buffer.concat([Buffer.from('/p2pns-z/'), pair.publicKey]))
})
