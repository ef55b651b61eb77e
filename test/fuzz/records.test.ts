import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzz } from './fuzz.ts'

test('of 20,000 mutated zones, leases, named records, manifests and proofs none is accepted and none crashes', () => {
  const { tried, refused, wrong } = fuzz(20_000, 1)
  assert.deepEqual(wrong.slice(0, 3), [])
  assert.equal(tried, 20_000)
  // Every kind of reason was met, and most never cost a signature check.
  for (const code of ['malformed', 'too_large', 'key_mismatch', 'lease_invalid', 'signature_invalid'] as const) {
    assert.ok((refused[code] ?? 0) > 0, code)
  }
  assert.ok((refused.signature_invalid ?? 0) < tried / 2)
})
