import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type Bytes, fromCbor, toCbor, toHex } from '../../node/core/encoding.ts'
import { MAX_HOSTS } from '../../node/core/hosts.ts'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import {
  encodeAnswer,
  encodeCall,
  glance,
  halfFrom,
  MAX_MEETING_BYTES,
  parseAnswer,
  parseCall,
  type Reachable,
  type Secrets,
  secretsOf,
  TICKET_USES,
} from '../../node/core/meeting.ts'

const pairOf = (byte: number) => keyPairFromSeed(new Uint8Array(32).fill(byte))
const halfOf = (byte: number) => halfFrom(new Uint8Array(32).fill(byte))
const [caller, callee, stranger] = [pairOf(1), pairOf(2), pairOf(3)]
const [callerHalf, calleeHalf] = [halfOf(11), halfOf(12)]
const nonce = Uint8Array.from({ length: 16 }, (_, i) => i)

const home: Reachable = {
  mapping: 'independent',
  filtering: 'address-and-port',
  hosts: [
    { use: 'tcp', host: '192.168.1.5', port: 4001 },
    { use: 'punch', host: '203.0.113.9', port: 61_000 },
    { use: 'udp', host: '2001:db8::5', port: 4001 },
  ],
}
const office: Reachable = { mapping: 'symmetric', filtering: 'unknown', hosts: [] }

const call = encodeCall(caller, callee.publicKey, nonce, callerHalf, home)
const answer = encodeAnswer(callee, parseCall(call, callee.publicKey), calleeHalf, office)

/** As an attacker makes them, who has no key but may sign anything with it. */
function signed(body: unknown[], sign: (body: Bytes) => Bytes = () => new Uint8Array(64)): Bytes {
  const bytes = toCbor(body as Parameters<typeof toCbor>[0])
  return toCbor([bytes, sign(bytes)])
}

function partsOf(message: Bytes): { body: unknown[]; signature: Bytes } {
  const [body, signature] = fromCbor(message, MAX_MEETING_BYTES, 'It') as [Bytes, Bytes]
  return { body: fromCbor(body, MAX_MEETING_BYTES, 'It') as unknown[], signature }
}

/** All there is of it, to be compared. */
function flat({ tickets, probeKey }: Secrets): string[] {
  return [...TICKET_USES.flatMap((use) => [toHex(tickets[use].id), toHex(tickets[use].secret)]), toHex(probeKey)]
}

test('a call and its answer say who, how to reach them, and one nonce', () => {
  const heard = parseCall(call, callee.publicKey)
  const { mapping, filtering, hosts } = heard
  assert.deepEqual({ mapping, filtering, hosts }, home)
  assert.equal(heard.kind, 'call')
  assert.equal(toHex(heard.caller), toHex(caller.publicKey))
  assert.equal(toHex(heard.callee), toHex(callee.publicKey))
  assert.equal(toHex(heard.share), toHex(callerHalf.share))

  const told = parseAnswer(answer, call)
  assert.deepEqual({ mapping: told.mapping, filtering: told.filtering, hosts: told.hosts }, office)
  assert.equal(told.kind, 'answer')
  assert.equal(toHex(told.nonce), toHex(nonce))
  assert.equal(toHex(told.share), toHex(calleeHalf.share))
})

test('both sides compute the same tickets and probe key', () => {
  const one = secretsOf(callerHalf, parseAnswer(answer, call).share, call, answer)
  const other = secretsOf(calleeHalf, parseCall(call, callee.publicKey).share, call, answer)
  assert.deepEqual(flat(one), flat(other))
})

test('every use has a ticket of its own, an id of 16 bytes and a secret of 32', () => {
  const secrets = secretsOf(callerHalf, calleeHalf.share, call, answer)
  assert.equal(new Set(flat(secrets)).size, 2 * TICKET_USES.length + 1)
  for (const use of TICKET_USES) {
    assert.deepEqual([secrets.tickets[use].id.length, secrets.tickets[use].secret.length], [16, 32])
  }
  assert.equal(secrets.probeKey.length, 32)
})

test('another half, another call or another answer gives other secrets, all of them', () => {
  const known = new Set(flat(secretsOf(callerHalf, calleeHalf.share, call, answer)))
  const again = encodeCall(caller, callee.publicKey, new Uint8Array(16), callerHalf, home)
  const others = [
    secretsOf(halfOf(13), calleeHalf.share, call, answer),
    secretsOf(callerHalf, halfOf(13).share, call, answer),
    secretsOf(callerHalf, calleeHalf.share, again, answer),
    secretsOf(
      callerHalf,
      calleeHalf.share,
      call,
      encodeAnswer(callee, parseCall(call, callee.publicKey), calleeHalf, home),
    ),
  ]
  for (const other of others)
    assert.deepEqual(
      flat(other).filter((part) => known.has(part)),
      [],
    )
})

test('a call that another key signed is refused', () => {
  const { body } = partsOf(call)
  const forged = signed(body, (bytes) => stranger.sign(Buffer.concat([Buffer.from('p2pns/call/v1\0'), bytes])))
  assert.throws(() => parseCall(forged, callee.publicKey), { code: 'signature_invalid' })
  const honest = signed(body, (bytes) => caller.sign(Buffer.concat([Buffer.from('p2pns/call/v1\0'), bytes])))
  assert.equal(toHex(honest), toHex(call))
})

test('a call to somebody else is not taken', () => {
  assert.throws(() => parseCall(call, stranger.publicKey), { code: 'malformed' })
})

test('an answer is no call and a call no answer', () => {
  assert.throws(() => parseCall(answer, callee.publicKey), { code: 'malformed' })
  assert.throws(() => parseAnswer(call, call), { code: 'malformed' })
})

test('an answer of somebody else than was called is refused', () => {
  const heard = parseCall(call, callee.publicKey)
  assert.throws(() => parseAnswer(encodeAnswer(stranger, heard, calleeHalf, office), call), { code: 'malformed' })
  const posing = { ...stranger, publicKey: callee.publicKey }
  assert.throws(() => parseAnswer(encodeAnswer(posing, heard, calleeHalf, office), call), { code: 'signature_invalid' })
})

test('an answer that is replayed to another call is refused, with the same nonce too', () => {
  const later = encodeCall(caller, callee.publicKey, new Uint8Array(16), callerHalf, home)
  assert.throws(() => parseAnswer(answer, later), { code: 'malformed' })
  const sameNonce = encodeCall(caller, callee.publicKey, nonce, halfOf(13), home)
  assert.throws(() => parseAnswer(answer, sameNonce), { code: 'signature_invalid' })
})

test('a message with any bit changed is refused', () => {
  const change = fc.record({ at: fc.nat(), bit: fc.nat(7) })
  const changed = (message: Bytes, { at, bit }: { at: number; bit: number }): Bytes => {
    const bytes = Uint8Array.from(message)
    bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ (1 << bit)
    return bytes
  }
  const refused = (error: unknown) => ['malformed', 'signature_invalid'].includes((error as { code: string }).code)
  fc.assert(
    fc.property(change, (one) => {
      assert.throws(() => parseCall(changed(call, one), callee.publicKey), refused)
      assert.throws(() => parseAnswer(changed(answer, one), call), refused)
      // The callee answered what it heard: an answer does not fit a call that was changed on the way.
      assert.throws(() => parseAnswer(answer, changed(call, one)), refused)
    }),
    { numRuns: 300 },
  )
})

test('a message that is cut short, or has more behind it, is refused', () => {
  for (const length of [0, 1, call.length - 1]) {
    assert.throws(() => parseCall(call.subarray(0, length), callee.publicKey), { code: 'malformed' })
  }
  assert.throws(() => parseCall(Buffer.concat([call, Buffer.alloc(1)]), callee.publicKey), { code: 'malformed' })
})

test('a message that is too large is refused before it is read', () => {
  const large = new Uint8Array(MAX_MEETING_BYTES + 1)
  assert.throws(() => parseCall(large, callee.publicKey), { code: 'too_large' })
  assert.throws(() => parseAnswer(large, call), { code: 'too_large' })
})

test('as many hosts as there may be, each as long as can be, fit into a message', () => {
  const hosts = Array.from({ length: MAX_HOSTS }, (_, i) => ({
    use: 'udp' as const,
    host: `2001:db8:1111:2222:3333:4444:5555:${(0x6660 + i).toString(16)}`,
    port: 65_535,
  }))
  const large = encodeCall(caller, callee.publicKey, nonce, callerHalf, { ...home, hosts })
  assert.deepEqual(parseCall(large, callee.publicKey).hosts, hosts)
})

test('a message with a field of the wrong kind, size or value is refused', () => {
  const sign = (bytes: Bytes) => caller.sign(Buffer.concat([Buffer.from('p2pns/call/v1\0'), bytes]))
  const wrong: [field: number, value: unknown][] = [
    [0, 0],
    [0, 2],
    [1, 2],
    [1, 'call'],
    [2, new Uint8Array(31)],
    [3, new Uint8Array(33)],
    [4, new Uint8Array(15)],
    [5, new Uint8Array(31)],
    [6, [4, 0]],
    [6, [0, 4]],
    [6, [0]],
    [7, [[0, new Uint8Array(4), 0]]],
    [7, Array.from({ length: MAX_HOSTS + 1 }, () => [0, new Uint8Array(4), 1])],
  ]
  for (const [field, value] of wrong) {
    const message = signed(partsOf(call).body.with(field, value), sign)
    assert.throws(() => parseCall(message, callee.publicKey), { code: 'malformed' }, `field ${field}`)
  }
  const longer = signed([...partsOf(call).body, 0], sign)
  assert.throws(() => parseCall(longer, callee.publicKey), { code: 'malformed' })
})

test('a share of small order is refused: with it everybody would compute the same', () => {
  // The points of RFC 7748 whose order divides 8, little-endian, and those that are the same modulo the prime.
  const shares = [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    `ec${'ff'.repeat(30)}7f`,
    `ed${'ff'.repeat(30)}7f`,
    `ee${'ff'.repeat(30)}7f`,
  ]
  for (const share of shares) {
    assert.throws(() => secretsOf(callerHalf, Buffer.from(share, 'hex'), call, answer), { code: 'malformed' }, share)
  }
})

test('a glance tells calls from answers without their keys, and throws at nothing', () => {
  const told = [call, answer].map((message) => glance(message))
  assert.deepEqual(
    told.map((one) => [one?.kind, one && toHex(one.nonce)]),
    [
      ['call', toHex(nonce)],
      ['answer', toHex(nonce)],
    ],
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => assert.equal(glance(bytes), undefined)))
  assert.equal(glance(new Uint8Array(MAX_MEETING_BYTES + 1)), undefined)
})

test('the same seed gives the same half', () => {
  assert.equal(toHex(halfOf(11).share), toHex(callerHalf.share))
  assert.notEqual(toHex(halfOf(12).share), toHex(callerHalf.share))
})
