/** What a node can do with content, of what P2pnsNode lists. */
import type { Content } from './content.ts'
import type { Limits, P2pnsNode } from './contract.ts'
import { P2pnsError } from './core/errors.ts'
import { select } from './files/select.ts'
import { findPeersOf } from './find-content.ts'
import { verifyAt, viewOf } from './manifests.ts'
import type { Names } from './names.ts'
import { probe } from './probe.ts'
import { openContent, openRange } from './range.ts'
import type { Transfers } from './transfers.ts'

type FileCall =
  | 'fetch'
  | 'transfers'
  | 'pauseTransfer'
  | 'resumeTransfer'
  | 'removeTransfer'
  | 'setLimits'
  | 'openRange'
  | 'manifest'
  | 'verifyManifest'
  | 'probe'

interface Parts {
  content: Content
  transfers: Transfers
  names: Names
}

export function fileCalls({ content, transfers, names }: Parts): Pick<P2pnsNode, FileCall> {
  const manifestOf = async (target: string, signal: AbortSignal | undefined) => {
    const found = await content.find(target, signal)
    const opened = await openContent(content, found, signal)
    opened.close()
    const { manifest } = opened
    return { ...manifest, entries: select(manifest, found.entry).entries }
  }
  return {
    fetch: async (target, request) => {
      checkLimits(request.limits ?? {})
      return transfers.fetch(target, request)
    },
    transfers: () => transfers.list(),
    pauseTransfer: (id) => transfers.pause(id),
    resumeTransfer: (id) => transfers.resume(id),
    removeTransfer: (id, options) => transfers.remove(id, options),
    setLimits: async (limits) => {
      checkLimits(limits)
      return content.setLimits(limits)
    },
    openRange: (target, range = {}, job = {}) => openRange(content, target, range, job),
    manifest: async (target, { all = false, signal } = {}) => viewOf(await manifestOf(target, signal), all),
    verifyManifest: async (target, place, job = {}) => verifyAt(await manifestOf(target, job.signal), place, job),
    probe: (whom, options = {}) =>
      probe(
        {
          peersOf: (name, signal) => findPeersOf(names, name, signal),
          reach: (peer, addresses, signal) => content.reach(peer, addresses, signal),
        },
        whom,
        options,
      ),
  }
}

/** No limit is one that is left out: nothing would ever move at 0 bytes a second. */
function checkLimits({ up = 1, down = 1 }: Limits): void {
  if (up > 0 && down > 0) return
  throw new P2pnsError('usage', 'a limit is a number of bytes a second, and more than none')
}
