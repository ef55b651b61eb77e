import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { isError } from '../../node/core/errors.ts'
import { Gate } from '../../resolver/gate.ts'
import { Servers } from '../../resolver/servers.ts'
import { type ExchangeOptions, parseServer, questionFrom } from '../../resolver/upstream.ts'
import { type Received, readResponse } from '../../resolver/upstream-answer.ts'
import { a, optWith, respond } from './fake-upstream.ts'
import { Clock, query } from './harness.ts'

const QUESTION = questionFrom(`\x01${query('www.example').toString('latin1', 12)}`)
const PACKET = query('www.example')
const GOOD = respond(PACKET, { answers: [a('198.51.100.1')] })
const SERVFAIL = respond(PACKET, { flags: 0x8182 })
const REFUSED = respond(PACKET, { flags: 0x8185 })

type Behaviour = 'silent' | 'gone' | Buffer | ((options: ExchangeOptions) => Buffer | 'silent')

/** Servers 1, 2, ... that do as they are told; `asked` holds who was asked, in order. */
function setUp(t: TestContext, ...behaviours: Behaviour[]) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const clock = new Clock()
  const asked: number[] = []
  const list = behaviours.map((_, i) => parseServer(`192.0.2.${i + 1}`))
  const servers = new Servers({
    list: () => list,
    read: (question, response) => readResponse(question, response, () => true),
    now: clock.now,
    exchange: (server, _question, options, signal) => {
      const number = Number(server.host.at(-1))
      asked.push(number)
      const behaviour = behaviours[number - 1] as Behaviour
      const does = typeof behaviour === 'function' ? behaviour(options) : behaviour
      if (does === 'gone') return Promise.reject(new Error('ECONNREFUSED'))
      if (does !== 'silent') return Promise.resolve({ response: does, exact: true })
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    },
  })
  const ask = (signal = new AbortController().signal): Promise<Received> => servers.ask(QUESTION, signal)
  /** Lets time pass, and what follows from it happen. */
  const pass = async (ms: number): Promise<void> => {
    await settle()
    t.mock.timers.tick(ms)
    clock.ms += ms
    await settle()
  }
  return { servers, behaviours, asked, ask, pass, clock }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

test('a server that is silent is not waited for, and rests: the next questions go to the other at once', async (t) => {
  const { asked, ask, pass } = setUp(t, 'silent', GOOD)
  const first = ask()
  await pass(599)
  assert.deepEqual(asked, [1])
  await pass(1)
  assert.equal((await first).rcode, 0)
  assert.equal((await ask()).rcode, 0)
  assert.deepEqual(asked, [1, 2, 2])
})

test('after its rest one question finds out whether it is back', async (t) => {
  const { behaviours, asked, ask, pass, clock } = setUp(t, 'silent', GOOD)
  const first = ask()
  await pass(600)
  await first
  clock.ms += 5_000
  const probe = ask()
  await settle()
  await ask()
  assert.deepEqual(asked.slice(2), [1, 2])
  await pass(600)
  await probe
  behaviours[0] = GOOD
  clock.ms += 60_000
  await ask()
  await ask()
  assert.deepEqual(asked.slice(-2), [1, 1])
})

test('a server that cannot be reached costs no time', async (t) => {
  const { asked, ask } = setUp(t, 'gone', GOOD)
  assert.equal((await ask()).rcode, 0)
  assert.deepEqual(asked, [1, 2])
})

test('a server that fails or refuses is stood in for, and when all do their answer is the answer', async (t) => {
  const failing = setUp(t, SERVFAIL, GOOD)
  assert.equal((await failing.ask()).rcode, 0)
  t.mock.timers.reset()
  const refusing = setUp(t, REFUSED, REFUSED)
  assert.equal((await refusing.ask()).rcode, 5)
  assert.deepEqual(refusing.asked, [1, 2])
})

test('nobody else is asked when an answer is withheld because its signature is wrong', async (t) => {
  const bogus = respond(PACKET, { flags: 0x8182, additional: [optWith(6, 'bogus')] })
  const { asked, ask } = setUp(t, bogus, GOOD)
  const { rcode, template } = await ask()
  assert.deepEqual([rcode, template.ede, asked], [2, { code: 6, text: 'bogus' }, [1]])
})

test('all silent: each is asked twice, a single one three times, and after four seconds it is over', async (t) => {
  for (const [count, expected] of [
    [1, [1, 1, 1]],
    [2, [1, 2, 1, 2]],
    [3, [1, 2, 3, 1]],
  ] as const) {
    const { asked, ask, pass } = setUp(t, ...Array.from({ length: count }, () => 'silent' as const))
    const answer = assert.rejects(ask(), (error) => isError(error, 'timed_out'))
    for (const ms of [600, 1_000, 1_200, 1_199]) await pass(ms)
    assert.deepEqual(asked, expected)
    await pass(1)
    await answer
    t.mock.timers.reset()
  }
})

test('with all of them out of reach, and with none at all, it is over at once', async (t) => {
  const { asked, ask } = setUp(t, 'gone', 'gone')
  await assert.rejects(ask(), (error) => isError(error, 'network_unreachable'))
  assert.deepEqual(asked, [1, 2])
  t.mock.timers.reset()
  await assert.rejects(setUp(t).ask(), (error) => isError(error, 'network_unreachable'))
})

test('the network counts as gone when nobody answered three questions in a row, until somebody answers', async (t) => {
  const { servers, behaviours, ask } = setUp(t, 'gone')
  for (let i = 0; i < 3; i++) {
    assert.equal(servers.gone, false)
    await assert.rejects(ask())
  }
  assert.equal(servers.gone, true)
  behaviours[0] = SERVFAIL
  await ask()
  assert.equal(servers.gone, false)
})

test('a server that drops what has an OPT in silence is asked without, from then on at once', async (t) => {
  const { asked, ask, pass } = setUp(t, ({ edns }) => (edns ? 'silent' : GOOD))
  const first = ask()
  await pass(600)
  assert.equal((await first).rcode, 0)
  assert.equal((await ask()).rcode, 0)
  assert.equal(asked.length, 3)
})

test('a hundred questions go out at once; more when those are answered or late', async (t) => {
  const { asked, ask, pass } = setUp(t, 'silent')
  const all = Promise.allSettled(Array.from({ length: 150 }, () => ask()))
  await settle()
  assert.equal(asked.length, 100)
  await pass(600)
  assert.equal(new Set(asked).size, 1)
  assert.equal(asked.length, 100 + 100 + 50)
  for (const ms of [1_000, 1_200, 1_200]) await pass(ms)
  assert.ok((await all).every(({ status }) => status === 'rejected'))
})

test('a place at the gate goes to who waits longest, and to nobody who has left', async () => {
  const gate = new Gate(1)
  const stays = new AbortController().signal
  const leaves = new AbortController()
  const leave = await gate.enter(stays)
  const order: string[] = []
  const left = gate.enter(leaves.signal)
  const next = gate.enter(stays).then((leave) => {
    order.push('next')
    return leave
  })
  leaves.abort(new Error('left'))
  await assert.rejects(left, /left/)
  leave()
  leave()
  const last = gate.enter(stays).then(() => order.push('last'))
  const leaveNext = await next
  assert.deepEqual(order, ['next'])
  leaveNext()
  await last
  assert.deepEqual(order, ['next', 'last'])
})
