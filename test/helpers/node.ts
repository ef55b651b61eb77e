/** A node that can do what `methods` say; anything else it is asked for fails the test. */
import assert from 'node:assert/strict'
import type { P2pnsNode } from '../../node/contract.ts'

export function nodeWith(methods: Partial<P2pnsNode>): P2pnsNode {
  const missing = async () => assert.fail('not asked for')
  const names = [
    ['register', 'resolve', 'share', 'unshare', 'fetch', 'status', 'peers', 'keys', 'clearCache', 'stop'],
    ['transfer', 'rotate', 'release', 'renew', 'receive', 'recoveryShown'],
    ['trust', 'setPetname', 'acceptOwner', 'forget', 'reportProof', 'exportProof'],
  ].flat()
  return { ...(Object.fromEntries(names.map((name) => [name, missing])) as unknown as P2pnsNode), ...methods }
}
