/** A whole node of the lab: its home, and the addresses of introducers. It does what it is asked for over IPC. */

import { isError } from '../../node/core/errors.ts'
import { createNode } from '../../node/index.ts'

export type NodeCall = 'share' | 'fetch' | 'transfers' | 'probe' | 'status' | 'peers' | 'register' | 'resolve'

const [home = '', ...introducers] = process.argv.slice(2)
const node = await createNode({ home, introducers })
process.on('message', ({ id, call, args }: { id: number; call: NodeCall; args: unknown[] }) => {
  const method = node[call] as unknown as (...args: unknown[]) => Promise<unknown>
  method(...args).then(
    (result) => process.send?.({ id, result }),
    (error: Error) => process.send?.({ id, error: isError(error) ? error.code : String(error.stack) }),
  )
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: node.peerId })
