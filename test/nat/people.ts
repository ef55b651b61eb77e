/** What the tests of the lab say and ask: introducers and nodes as processes in their namespaces. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import * as path from 'node:path'
import type { Lab } from './lab.ts'

/** A process that answers, in a namespace of the lab. */
export interface Remote {
  /** A peer id, or the address of an introducer. */
  id: string
  child: ChildProcess
  ask<T>(message: object): Promise<T>
}

export async function remote(lab: Lab, host: string, script: string, args: string[]): Promise<Remote> {
  const child = lab.spawn(host, path.join(import.meta.dirname, script), args)
  const [{ ready }] = (await once(child, 'message')) as [{ ready: string }]
  let calls = 0
  const waiting = new Map<number, (error: Error) => void>()
  child.once('exit', () => waiting.forEach((fail) => fail(new Error('the process ended'))))
  return {
    id: ready,
    child,
    ask<T>(message: object): Promise<T> {
      const id = ++calls
      return new Promise((resolve, reject) => {
        const heard = (answer: { id?: number; result?: T; error?: string }): void => {
          if (answer.id !== id) return
          child.off('message', heard)
          waiting.delete(id)
          if (answer.error === undefined) resolve(answer.result as T)
          else reject(new Error(answer.error))
        }
        child.on('message', heard)
        waiting.set(id, reject)
        child.send({ id, ...message })
      })
    },
  }
}

export function introducer(lab: Lab, number: 1 | 2): Promise<Remote> {
  const name = `introducer${number}`
  return remote(lab, name, 'introducer-host.ts', [path.join(lab.folder, name), `/ip4/50.0.0.${number}/tcp/4001`])
}

export function introducers(lab: Lab): Promise<Remote[]> {
  return Promise.all([introducer(lab, 1), introducer(lab, 2)])
}

export function person(lab: Lab, host: string, places: readonly Remote[]): Promise<Remote> {
  const addresses = places.map(({ id }) => id)
  return remote(lab, host, 'node-peer.ts', [path.join(lab.folder, host), ...addresses])
}
