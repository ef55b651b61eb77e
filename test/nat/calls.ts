/** What the lab's processes and whoever runs them say to each other over IPC. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

export async function ready(child: ChildProcess): Promise<string> {
  const [{ ready }] = (await once(child, 'message')) as [{ ready: string }]
  return ready
}

let calls = 0

/** Rejects with what the child's answer calls an error. */
export function ask<T>(child: ChildProcess, message: object): Promise<T> {
  const id = ++calls
  return new Promise((resolve, reject) => {
    const heard = (answer: { id?: number; result?: T; error?: string }): void => {
      if (answer.id !== id) return
      child.off('message', heard)
      if (answer.error === undefined) resolve(answer.result as T)
      else reject(new Error(answer.error))
    }
    child.on('message', heard)
    child.send({ id, ...message })
  })
}
