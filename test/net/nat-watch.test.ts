import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { COOKIE_SIZE, encodeCookie, encodePoke, encodeReflection, parseQuestion } from '../../node/core/datagram.ts'
import type { HostPort } from '../../node/core/hosts.ts'
import { askReflector, NatWatch, type ReflectorAt } from '../../node/net/nat-watch.ts'
import { UdpPort } from '../../node/net/udp.ts'

const HERE = '127.0.0.1'
/** What a NAT would make of us, and where nobody is. */
const OUTSIDE = { host: '127.0.0.99', port: 9 }
const random = (length: number) => randomBytes(length)

async function udpPort(t: TestContext): Promise<UdpPort> {
  const port = await UdpPort.open(0)
  assert.ok(port)
  t.after(() => port.close())
  return port
}

/** One port of a reflector, which says that it sees what `seen` says; undefined: it says nothing. */
async function reflectorPort(t: TestContext, seen: () => HostPort | undefined, host = HERE) {
  const socket = createSocket('udp4').bind(0, host)
  await once(socket, 'listening')
  t.after(() => new Promise<void>((resolve) => socket.close(() => resolve())))
  const cookie = new Uint8Array(COOKIE_SIZE).fill(1)
  const asked = { count: 0, next: Promise.withResolvers<void>() }
  socket.on('message', (bytes, from) => {
    const question = parseQuestion(bytes)
    const told = seen()
    asked.count++
    asked.next.resolve()
    asked.next = Promise.withResolvers()
    if (!question || !told) return
    const isKnown = question.cookie.every((byte) => byte === 1)
    const answer = isKnown ? encodeReflection(question.nonce, told) : encodeCookie(question.nonce, cookie)
    socket.send(answer, from.port, from.address)
  })
  return { socket, asked, at: { host, port: socket.address().port } }
}

interface Told {
  seen?: (which: 0 | 1) => HostPort | undefined
  host?: string
  /** What becomes of a poke: a NAT lets nothing in, unless this says otherwise. */
  poke?: (socket: Socket, nonce: Uint8Array) => void
}

async function reflector(t: TestContext, { seen = () => OUTSIDE, host = HERE, poke = () => undefined }: Told = {}) {
  const ports = [await reflectorPort(t, () => seen(0), host), await reflectorPort(t, () => seen(1), host)] as const
  const pokes: number[] = []
  const at: ReflectorAt = {
    host,
    ports: [ports[0].at.port, ports[1].at.port],
    poke: async (which, port, nonce) => {
      pokes.push(port)
      poke(ports[which].socket, nonce)
    },
  }
  return { at, ports, pokes }
}

const OTHER = '127.0.0.2'

function watching(t: TestContext, udp: UdpPort, reflectors: ReflectorAt[], local: HostPort[] = []): NatWatch {
  const watch = new NatWatch({ udp, reflectors: async () => reflectors, local: () => local, random })
  t.after(() => watch.stop())
  return watch
}

const letIn =
  (udp: UdpPort) =>
  (socket: Socket, nonce: Uint8Array): void =>
    socket.send(encodePoke(nonce), udp.port, HERE)

test('a reflector tells the port where it is seen, after it has shown that it is there', async (t) => {
  const udp = await udpPort(t)
  const { at, asked } = await reflectorPort(t, () => OUTSIDE)
  assert.deepEqual(await askReflector({ udp, random }, at), OUTSIDE)
  assert.equal(asked.count, 2)
})

test('a reflector is asked three times, ever more patiently, and then said to be silent', async (t) => {
  const udp = await udpPort(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { at, asked } = await reflectorPort(t, () => undefined)
  const first = asked.next.promise
  const answer = askReflector({ udp, random }, at)
  await first
  for (const pause of [400, 800]) {
    const next = asked.next.promise
    t.mock.timers.tick(pause)
    await next
  }
  t.mock.timers.tick(1_599)
  const turn = new Promise((resolve) => setImmediate(resolve, 'still waiting'))
  assert.equal(await Promise.race([answer, turn]), 'still waiting')
  t.mock.timers.tick(1)
  assert.equal(await answer, undefined)
  assert.equal(asked.count, 3)
})

test('the same address everywhere, and a stranger that comes in, are a NAT that hinders nobody', async (t) => {
  const udp = await udpPort(t)
  const poke = letIn(udp)
  const [one, two] = [await reflector(t, { poke }), await reflector(t, { poke, host: OTHER })]
  const watch = watching(t, udp, [one.at, two.at], [{ host: HERE, port: udp.port }])
  await watch.look()
  const { mapping, filtering, translated, mapped, address, hairpin } = watch.judgement
  assert.deepEqual(
    { mapping, filtering, translated },
    { mapping: 'independent', filtering: 'independent', translated: false },
  )
  assert.deepEqual({ mapped, address, hairpin }, { mapped: OUTSIDE, address: OUTSIDE.host, hairpin: false })
  // Where it is seen, and not where it is.
  assert.deepEqual([one.pokes, two.pokes], [[OUTSIDE.port], [OUTSIDE.port]])
})

test('who is seen where it is has no NAT', async (t) => {
  const udp = await udpPort(t)
  const own = { host: HERE, port: udp.port }
  const [one, two] = [await reflector(t, { seen: () => own }), await reflector(t, { seen: () => own, host: OTHER })]
  const watch = watching(t, udp, [one.at, two.at], [own])
  await watch.look()
  const { mapping, translated, keepsPort, hairpin, mapped } = watch.judgement
  assert.deepEqual(
    { mapping, translated, keepsPort, hairpin, mapped },
    { mapping: 'independent', translated: false, keepsPort: true, hairpin: true, mapped: own },
  )
})

test('a NAT that lets in only whom we spoke to is told from one that also knows the port', async (t) => {
  for (const filtering of ['address', 'address-and-port'] as const) {
    const udp = await udpPort(t)
    const one = await reflector(t, filtering === 'address' ? { poke: letIn(udp) } : {})
    const two = await reflector(t, { host: OTHER })
    const watch = watching(t, udp, [one.at, two.at])
    await watch.look()
    assert.equal(watch.judgement.filtering, filtering)
  }
})

test('another port for each is a symmetric NAT, which has no address to tell', async (t) => {
  const udp = await udpPort(t)
  const { at } = await reflector(t, { seen: (which) => ({ ...OUTSIDE, port: 100 + which }) })
  const watch = watching(t, udp, [at])
  await watch.look()
  const { mapping, mapped, address } = watch.judgement
  assert.deepEqual({ mapping, mapped, address }, { mapping: 'symmetric', mapped: undefined, address: OUTSIDE.host })
})

test('a change of the judgement is told once, and what nobody can say changes nothing', async (t) => {
  const udp = await udpPort(t)
  let seen = { host: HERE, port: udp.port }
  const { at, pokes } = await reflector(t, { seen: () => seen, poke: letIn(udp) })
  let reflectors: () => Promise<ReflectorAt[]> = async () => [at]
  const watch = new NatWatch({ udp, reflectors: () => reflectors(), local: () => [], random })
  t.after(() => watch.stop())
  let changes = 0
  watch.onChange = () => changes++
  await Promise.all([watch.look(), watch.look()])
  assert.equal(changes, 1)
  await watch.look()
  assert.equal(changes, 1)
  // Later nobody is a stranger any more: what the NAT lets in is looked at once for each mapping.
  assert.equal(pokes.length, 1)
  const { judgement } = watch
  for (const nobody of [async () => [], async () => Promise.reject(new Error('no introducer answers'))]) {
    reflectors = nobody
    await watch.look()
  }
  assert.deepEqual(watch.judgement, judgement)
  reflectors = async () => [at]
  seen = OUTSIDE
  await watch.look()
  assert.equal(changes, 2)
  assert.deepEqual(watch.judgement.mapped, OUTSIDE)
  assert.equal(pokes.length, 2)
})

test('where nobody answers no UDP passes', async (t) => {
  const udp = await udpPort(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { at, ports } = await reflector(t, { seen: () => undefined })
  const watch = watching(t, udp, [at])
  const [{ asked }] = ports
  for (const pause of [0, 400, 800]) {
    const next = asked.next.promise
    if (pause === 0) void watch.look()
    t.mock.timers.tick(pause)
    await next
  }
  t.mock.timers.tick(1_600)
  await watch.look()
  assert.equal(watch.judgement.mapping, 'blocked')
})
