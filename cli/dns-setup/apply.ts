/** Does a plan and takes it back: whole or not at all, and nothing of others is lost. */
import type { Stats } from 'node:fs'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { P2pnsError } from '../../node/core/errors.ts'
import { formatHostPort } from '../options.ts'
import type { System } from './detect.ts'
import type { Machine } from './machine.ts'
import type { Plan, PlannedFile } from './plan.ts'
import { type ChangedFile, type Receipt, readReceipt, receiptPath, sha256 } from './receipt.ts'
import { isOurs, withoutBlock } from './text.ts'

export interface Undone {
  system: System
  /** Paths of files that are as they were. */
  restored: string[]
  /** Others have changed these since: of them only our own lines were taken out. */
  changed: string[]
}

/** True when something was done, false when all of it was there already. Throws before anything is done, or puts all back. */
export async function applySetup(plan: Plan, machine: Machine): Promise<boolean> {
  if (plan.blocked !== undefined) throw new P2pnsError('dns_setup_blocked', plan.blocked)
  const receipt = await readReceipt(machine)
  if (receipt && (await isDone(plan, receipt, machine))) return false
  for (const file of plan.files) await refuseForeign(file, receipt, machine)
  if (plan.takesAll && (await machine.answersAt(plan.dns)) !== 'all') {
    const where = formatHostPort(plan.dns)
    throw new P2pnsError(
      'dns_setup_blocked',
      `nobody at ${where} answers both .p2p and all other names: ${plan.notes[0]}`,
    )
  }
  await undoSetup(machine)
  try {
    await writeFiles(plan, machine)
    for (const command of plan.commands) await runCommand(machine, command)
  } catch (error) {
    await undoSetup(machine, { rollback: true })
    throw error
  }
  return true
}

/** Undefined: nothing had been done. With `rollback` the commands may fail: it is one of them that did. */
export async function undoSetup(machine: Machine, { rollback = false } = {}): Promise<Undone | undefined> {
  const receipt = await readReceipt(machine)
  if (!receipt) return undefined
  const { system, files, folders, undo } = receipt
  const [restored, changed]: [string[], string[]] = [[], []]
  for (const file of files.toReversed()) {
    const list = (await restore(file, machine)) ? restored : changed
    list.push(file.path)
  }
  for (const folder of folders) await fs.rmdir(at(machine, folder)).catch(() => {})
  for (const command of undo) {
    const ran = runCommand(machine, command)
    await (rollback ? ran.catch(() => {}) : ran)
  }
  await touching(receiptPath(machine), () => fs.rm(receiptPath(machine)))
  await fs.rmdir(path.dirname(receiptPath(machine))).catch(() => {})
  return { system, restored, changed }
}

function at({ root }: Machine, file: string): string {
  return path.join(root, file)
}

async function isDone(plan: Plan, receipt: Receipt, machine: Machine): Promise<boolean> {
  if (receipt.system !== plan.system || receipt.dns !== formatHostPort(plan.dns)) return false
  const known = new Map(receipt.files.map((file) => [file.path, file.sha256]))
  if (known.size !== plan.files.length) return false
  for (const { path, content } of plan.files) {
    const now = await read(at(machine, path))
    if (now === undefined || sha256(now) !== known.get(path) || sha256(content) !== known.get(path)) return false
  }
  return true
}

async function refuseForeign(
  { path: file, edits }: PlannedFile,
  receipt: Receipt | undefined,
  machine: Machine,
): Promise<void> {
  const where = at(machine, file)
  const stats = await fs.lstat(where).catch(() => undefined)
  if (stats === undefined) return
  if (!stats.isFile()) throw new P2pnsError('dns_setup_blocked', `${where} is not a plain file`)
  const isKnown = receipt?.files.some(({ path }) => path === file)
  if (edits || isKnown || isOurs((await read(where))?.toString() ?? '')) return
  throw new P2pnsError('dns_setup_blocked', `${where} is there, and not made by p2pns`)
}

async function writeFiles(plan: Plan, machine: Machine): Promise<void> {
  const files: ChangedFile[] = []
  const folders: string[] = []
  for (const { path: file, content } of plan.files) {
    const before = await read(at(machine, file))
    const mode = before === undefined ? 0o644 : (await fs.stat(at(machine, file))).mode & 0o7777
    files.push({ path: file, before: before?.toString('base64') ?? null, mode, sha256: sha256(content) })
    folders.push(...(await missingFolders(path.dirname(file), machine)).filter((folder) => !folders.includes(folder)))
  }
  folders.sort((a, b) => b.length - a.length)
  const receipt: Receipt = {
    version: 1,
    system: plan.system,
    dns: formatHostPort(plan.dns),
    files,
    folders,
    undo: plan.undo,
  }
  // First of all: from here on whatever happens can be undone.
  await writeFile(receiptPath(machine), `${JSON.stringify(receipt, null, 2)}\n`, 0o600)
  for (const [i, { path: file, content }] of plan.files.entries()) {
    await writeFile(at(machine, file), content, files[i]?.mode ?? 0o644)
  }
}

/** The innermost first. */
async function missingFolders(folder: string, machine: Machine): Promise<string[]> {
  const isThere = await fs.stat(at(machine, folder)).then(
    () => true,
    () => false,
  )
  return isThere ? [] : [folder, ...(await missingFolders(path.dirname(folder), machine))]
}

/** False when somebody else has changed it: then only what is ours is taken out. */
async function restore({ path: file, before, mode, sha256: ours }: ChangedFile, machine: Machine): Promise<boolean> {
  const where = at(machine, file)
  const now = await read(where)
  const original = before === null ? undefined : Buffer.from(before, 'base64')
  if (now === undefined ? original === undefined : original?.equals(now)) return true
  if (now === undefined) return false
  if (sha256(now) === ours) {
    if (original) await writeFile(where, original, mode)
    else await touching(where, () => fs.rm(where))
    return true
  }
  const rest = withoutBlock(now.toString())
  if (rest !== now.toString()) await writeFile(where, rest, mode)
  return false
}

async function read(file: string): Promise<Buffer | undefined> {
  return touching(file, () =>
    fs.readFile(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    }),
  )
}

/** As a whole: who reads it sees the old or the new one. Its owner stays. */
async function writeFile(file: string, content: string | Uint8Array, mode: number): Promise<void> {
  const fresh = `${file}.p2pns-new`
  await touching(file, async () => {
    await fs.mkdir(path.dirname(file), { recursive: true })
    const owner = await fs.stat(file).catch(() => undefined)
    try {
      await writeSynced(fresh, content, mode, owner)
      await fs.rename(fresh, file)
    } catch (error) {
      await fs.rm(fresh, { force: true })
      // What is mounted on its own, as resolv.conf in a container, can only be written in place.
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
      await fs.writeFile(file, content)
    }
  })
}

async function writeSynced(file: string, content: string | Uint8Array, mode: number, owner?: Stats): Promise<void> {
  await using handle = await fs.open(file, 'w', mode)
  // The mode of open() is less what the umask takes.
  await handle.chmod(mode)
  if (owner && (owner.uid !== process.getuid?.() || owner.gid !== process.getgid?.())) {
    await handle.chown(owner.uid, owner.gid)
  }
  await handle.writeFile(content)
  await handle.sync()
}

async function touching<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    const why = code === 'EACCES' || code === 'EPERM' ? 'only an administrator may: run this command with sudo' : code
    throw new P2pnsError('disk_error', `${file} cannot be changed (${why})`, { cause })
  }
}

async function runCommand(machine: Machine, command: string[]): Promise<void> {
  try {
    await machine.run(command)
  } catch (cause) {
    const { stderr, message } = cause as { stderr?: string; message: string }
    const [why = ''] = (stderr?.trim() || message).split('\n')
    throw new P2pnsError('dns_setup_failed', `${command.join(' ')} failed: ${why}`, { cause })
  }
}
