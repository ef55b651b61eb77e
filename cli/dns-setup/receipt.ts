/** What was done to the machine, kept where `--undo` finds it, whatever has become of the machine since. */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { P2pnsError } from '../../node/core/errors.ts'
import type { System } from './detect.ts'
import type { Machine } from './machine.ts'

export interface ChangedFile {
  path: string
  /** Base64 of what was in it; null: it was not there. */
  before: string | null
  mode: number
  /** Of what we wrote. */
  sha256: string
}

export interface Receipt {
  version: 1
  system: System
  /** `HOST:PORT` of our resolver. */
  dns: string
  files: ChangedFile[]
  /** Made for the files, the innermost first. */
  folders: string[]
  /** Commands to run when the files are as they were. */
  undo: string[][]
}

export function receiptPath({ platform, root, env }: Machine): string {
  const folder = platform === 'win32' ? path.join(env.ProgramData ?? 'C:\\ProgramData', 'p2pns') : '/etc/p2pns'
  return path.join(root, folder, 'dns-setup.json')
}

/** Undefined: nothing was done. */
export async function readReceipt(machine: Machine): Promise<Receipt | undefined> {
  const file = receiptPath(machine)
  const text = await fs.readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new P2pnsError('disk_error', `${file} cannot be read`, { cause: error })
  })
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as Receipt
  } catch (cause) {
    throw new P2pnsError('disk_error', `${file} is damaged`, { cause })
  }
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}
