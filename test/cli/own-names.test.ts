/** What `p2pns up` shows of private addresses: a real node and a real resolver, asked over UDP. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostNode } from '../../cli/with-node.ts'
import { createResolver } from '../../resolver/index.ts'
import { createTestnet } from '../helpers/testnet.ts'
import { ask, extendedErrorOf } from '../resolver/harness.ts'
import { fakeWorld } from './fake-world.ts'

const BLOCKED = 15

test('names whose key is in this home show it their private addresses; others do not, petnames and aliases to them neither', async (t) => {
  const net = await createTestnet(t, { nodes: 1 })
  const [bob] = net.nodes
  assert.ok(bob)
  const alice = await net.join()
  const inside = { type: 'A', data: '192.168.1.5' }
  const { keyName: bobsKey } = await bob.register({ name: 'bob.p2p', records: [inside] })
  const { keyName } = await alice.register({
    name: 'alice.p2p',
    records: [
      inside,
      { label: 'www', type: 'CNAME', data: 'alice.p2p' },
      { label: 'here', type: 'CNAME', data: 'localhost' },
      { label: 'bob', type: 'CNAME', data: 'bob.p2p' },
    ],
  })
  await alice.setPetname('bob', bobsKey)
  await alice.setPetname('me', keyName)

  const stopped = new AbortController()
  const port = Promise.withResolvers<number>()
  const world = fakeWorld()
  const hosted = hostNode(
    {
      home: '/home/alice',
      cwd: '/',
      output: undefined as never,
      engine: {
        ...world.engine,
        async createNode({ onNames }) {
          await onNames?.((apex, options) => alice.lookup(apex, options))
          return alice
        },
        async createResolver(options) {
          const resolver = await createResolver(options)
          port.resolve(resolver.port)
          return resolver
        },
      },
      passphrase: async () => '',
      signal: stopped.signal,
      now: Date.now,
    },
    { dns: { host: '127.0.0.1', port: 0 } },
    async () => {},
  )
  const addresses = async (name: string) => {
    const answer = await ask(await port.promise, name, { edns: 1232 })
    const found = (answer.answers ?? []).flatMap((record) => (record.type === 'A' ? [record.data] : []))
    return [...found, extendedErrorOf(answer)?.[0]]
  }
  for (const name of ['alice.p2p', 'www.alice.p2p', keyName, 'me.pet.p2p']) {
    assert.deepEqual(await addresses(name), ['192.168.1.5', undefined], name)
  }
  assert.deepEqual(await addresses('here.alice.p2p'), ['127.0.0.1', undefined])
  for (const name of ['bob.p2p', bobsKey, 'bob.pet.p2p', 'bob.alice.p2p']) {
    assert.deepEqual(await addresses(name), [BLOCKED], name)
  }
  stopped.abort()
  await hosted
})
