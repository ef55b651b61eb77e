import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { AccessOptions } from '../../introducer/access.ts'
import { createIntroducer } from '../../introducer/index.ts'
import { Introducer } from '../../node/net/introducers.ts'
import { SWITCHBOARD_PROTOCOL } from '../../node/net/switchboard.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { honestHost } from '../helpers/hosts.ts'
import { reachingHost } from '../helpers/reaching.ts'

async function place(t: TestContext, access: AccessOptions): Promise<string> {
  const home = await temporaryFolder(t)
  const introducer = await createIntroducer({ home, listen: ['/ip4/127.0.0.1/tcp/0'], bits: 4, access })
  t.after(() => introducer.stop())
  return introducer.address
}

test('an introducer with a list serves who is on it, or who is not', async (t) => {
  const { libp2p } = await honestHost(t, 'asker', { role: 'visitor' })
  const peers = [libp2p.peerId.toString()]
  for (const [policy, list, serves] of [
    ['allowlist', peers, true],
    ['allowlist', [], false],
    ['denylist', peers, false],
    ['denylist', [], true],
  ] as const) {
    const asked = new Introducer(libp2p, await place(t, { policy, peers: list }), Date.now).peers()
    if (serves) assert.deepEqual(await asked, [])
    else await assert.rejects(asked, { code: 'not_admitted' })
  }
})

test('who knows the token is served, on every stream of its connection; who does not is told so', async (t) => {
  const address = await place(t, { policy: 'token', token: 'open sesame' })
  const { libp2p } = await honestHost(t, 'asker', { role: 'visitor' })
  for (const wrong of [address, `${address}?token=x`]) {
    const introducer = new Introducer(libp2p, wrong, Date.now)
    await assert.rejects(introducer.peers(), { code: 'not_admitted' }, wrong)
    introducer.close()
  }
  const refused = await libp2p.dialProtocol(libp2p.getConnections()[0]?.remoteAddr ?? [], SWITCHBOARD_PROTOCOL)
  await new Promise((resolve) => refused.addEventListener('close', resolve))
  const introducer = new Introducer(libp2p, `${address}?token=open sesame`, Date.now)
  assert.deepEqual(await introducer.peers(), [])
  assert.equal(introducer.address, address, "the token is nobody else's business")
})

test('two peers that know the token meet there', async (t) => {
  const address = `${await place(t, { policy: 'token', token: 'word' })}?token=word`
  const links = Promise.withResolvers<string>()
  const callee = await reachingHost(t, 'callee', ({ peer }) => links.resolve(peer), [address])
  const caller = await reachingHost(t, 'caller', () => undefined, [address])
  while (callee.reach.meetingPlaces.length === 0) await new Promise(setImmediate)
  const signal = AbortSignal.timeout(10_000)
  const { peer, ways } = await caller.reach.to(callee.host.libp2p.peerId, [], signal)
  assert.equal(peer, callee.peer)
  assert.ok((await ways.next()).value)
  await ways.return(undefined)
})
