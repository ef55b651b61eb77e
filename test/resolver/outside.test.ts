import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nameToWire } from '../../node/core/dns.ts'
import { isError } from '../../node/core/errors.ts'
import { askThrough, type Forwarder, stepFrom } from '../../resolver/outside.ts'
import { record, u16, wireName } from './conformance/packet.ts'

const QUESTION = Buffer.concat([wireName('a.example'), u16(1, 1)])
const A = Buffer.from([192, 0, 2, 1])

function response(rcode: number, ...answers: Buffer[]): Buffer {
  return Buffer.concat([u16(0, 0x8180 | rcode, 1, answers.length, 0, 0), QUESTION, ...answers])
}

const cname = (from: string, to: string): Buffer => record(from, 'CNAME', Buffer.from(nameToWire(to)), 60)

test('only what follows from the name counts, in whatever order it comes', () => {
  const { answers, next } = stepFrom(
    'a.example',
    1,
    response(0, record('c.example', 'A', A), record('b.example', 'A', A), cname('a.example', 'b.example')),
  )
  assert.deepEqual([answers.map(({ name }) => name), next], [['a.example', 'b.example'], undefined])
})

test('a circle of aliases ends, and so does one that leads to our names', () => {
  const circle = response(0, cname('a.example', 'b.example'), cname('b.example', 'a.example'))
  assert.equal(stepFrom('a.example', 1, circle).answers.length, 2)
  const home = stepFrom('a.example', 1, response(3, cname('a.example', 'bob.p2p'), record('bob.p2p', 'A', A)))
  assert.deepEqual([home.rcode, home.answers.length, home.next], [0, 1, 'bob.p2p'])
})

test('without an SOA a missing name is not kept', () => {
  assert.equal(stepFrom('a.example', 1, response(3)).lifetime, 0)
})

test('an upstream that fails, or answers what cannot be read, is a failure', async () => {
  const upstream = (wire: Buffer): Forwarder => ({
    forward: () => ({ template: { wire, ends: [], ede: undefined, ttls: [] }, source: 'found', lifetime: 0 }),
  })
  await assert.rejects(askThrough(upstream(response(2)))('a.example', 1), (error) => isError(error, 'timed_out'))
  await assert.rejects(askThrough(upstream(response(0).subarray(0, 20)))('a.example', 1), (error) =>
    isError(error, 'malformed'),
  )
  await assert.rejects(askThrough(upstream(Buffer.alloc(0)))('a.example', 1))
})
