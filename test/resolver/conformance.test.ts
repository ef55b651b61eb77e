import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { cases } from './conformance/cases.ts'
import { ask, readReply } from './conformance/packet.ts'
import { answerTo, differences, transportsOf } from './conformance/run.ts'
import { startOurs } from './conformance/servers.ts'
import { overTcp } from './harness.ts'

let ours: Awaited<ReturnType<typeof startOurs>>
before(async () => {
  ours = await startOurs()
})
after(() => ours.stop())

test('every packet has a name of its own and its place in an RFC', () => {
  assert.ok(cases.length >= 120, `${cases.length}`)
  assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length)
  for (const { name, rfc } of cases) assert.match(rfc, /^\d{4}( \d+(\.\d+)*)?$/, name)
})

// RFC 7766 is about connections, not packets.
test('RFC 7766 6.2.1.1, 7: queries on one connection are all answered, each under its own id', async () => {
  const answered = cases.filter(({ server, next, expect }) => !server && !next && expect !== 'nothing').slice(0, 60)
  const packets = answered.map(({ packet }, id) => Buffer.concat([Buffer.from([0, id]), packet.subarray(2)]))
  const answers = await overTcp(ours.ports.plain, packets)
  assert.deepEqual(
    answers.map((answer) => answer.readUInt16BE(0)).sort((a, b) => a - b),
    [...packets.keys()],
  )
})

test('RFC 7766 8: a query that comes byte by byte is one query', async () => {
  const packet = ask('alice.p2p')
  const socket = connect({ port: ours.ports.plain, host: '127.0.0.1', noDelay: true })
  for (const byte of Buffer.concat([Buffer.from([0, packet.length]), packet])) {
    await new Promise((resolve) => socket.write(Buffer.from([byte]), resolve))
  }
  const [answer] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  assert.equal(answer.readUInt16BE(0), answer.length - 2)
  assert.deepEqual(readReply(answer.subarray(2)).answer.length, 2)
})

test('RFC 7766 6.2.4: who sends no more still gets the answers, and then the end', async () => {
  const packet = ask('alice.p2p')
  const socket = connect({ port: ours.ports.plain, host: '127.0.0.1', allowHalfOpen: true })
  socket.end(Buffer.concat([Buffer.from([0, packet.length]), packet]))
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  assert.equal(readReply(Buffer.concat(chunks).subarray(2)).answer.length, 2)
})

for (const one of cases) {
  test(`RFC ${one.rfc}: ${one.name}`, async () => {
    for (const transport of transportsOf(one)) {
      const answer = await answerTo(one, ours.ports[one.server ?? 'plain'], transport)
      assert.deepEqual(differences(one, transport, answer), [], transport)
    }
  })
}
