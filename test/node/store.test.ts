import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { Key } from 'interface-datastore'
import { P2pnsError } from '../../node/core/errors.ts'
import { openStore, type Store, storageError } from '../../node/store.ts'
import { temporaryFolder } from '../helpers/folder.ts'

const run = promisify(execFile)

async function openFor(t: TestContext, home: string): Promise<Store> {
  const store = await openStore(home)
  t.after(() => store.close())
  return store
}

/** A closed database with tables on disk (`rounds` > 1) and a log. */
async function filledHome(t: TestContext, rounds: number): Promise<string> {
  const home = await temporaryFolder(t)
  for (let round = 0; round < rounds; round++) {
    const store = await openStore(home)
    for (let i = 0; i < 20; i++) await store.table<string>('t').put(`k${i}`, `value ${i} `.repeat(20))
    await store.close()
  }
  return home
}

/** Every file of the database but level's own diary, by name, in hex. */
async function filesOf(home: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  for (const name of (await fs.readdir(path.join(home, 'db'))).sort()) {
    if (!/^LO(G|CK)/.test(name)) files.set(name, await fs.readFile(path.join(home, 'db', name), 'hex'))
  }
  return files
}

async function all<T>(values: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const value of values) list.push(value)
  return list
}

test('what was put is there after a restart, and what was deleted or cleared is not', async (t) => {
  const home = await temporaryFolder(t)
  const first = await openStore(home)
  const table = first.table<{ n: number }>('t')
  await table.put('a', { n: 1 })
  await table.put('b', { n: 2 })
  await table.delete('b')
  const other = first.table<number>('other')
  await other.put('a', 5)
  await other.clear()
  await first.close()

  const again = await openFor(t, home)
  const rows = await all(again.table<{ n: number }>('t').entries())
  assert.deepEqual(rows, [['a', { n: 1 }]])
  assert.equal(await again.table('t').get('b'), undefined)
  assert.equal(await again.table('other').get('a'), undefined)
})

/** A process that puts one row after another and prints the number of each once the put was acknowledged. */
const WRITER = `
  const { openStore } = await import(${JSON.stringify(path.join(import.meta.dirname, '../../node/store.ts'))})
  const table = (await openStore(process.argv[1])).table('t')
  for (let i = 0; ; i++) {
    await table.put('k' + i, i)
    process.stdout.write(i + '\\n')
  }`

test('a write that was acknowledged survives kill -9', async (t) => {
  const home = await temporaryFolder(t)
  const writer = spawn(process.execPath, ['--input-type=module', '-e', WRITER, home], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => writer.kill('SIGKILL'))
  let acknowledged = -1
  for await (const line of createInterface({ input: writer.stdout })) {
    acknowledged = Number(line)
    if (acknowledged === 25) writer.kill('SIGKILL')
  }
  const table = (await openFor(t, home)).table<number>('t')
  assert.ok(acknowledged >= 25)
  for (let i = 0; i <= acknowledged; i++) assert.equal(await table.get(`k${i}`), i)
})

test('a write is acknowledged only after the kernel was told to bring it to the disk', async (t) => {
  const home = await temporaryFolder(t)
  const trace = path.join(home, 'trace')
  const command = `
    const { openStore } = await import(${JSON.stringify(path.join(import.meta.dirname, '../../node/store.ts'))})
    const store = await openStore(process.argv[1])
    process.stdout.write('opened')
    await store.table('t').put('a', 1)
    process.stdout.write('acknowledged')
    await store.close()`
  const strace = ['-f', '-qq', '-e', 'trace=fsync,fdatasync,write', '-o', trace, process.execPath]
  try {
    await run('strace', [...strace, '--input-type=module', '-e', command, path.join(home, 'home')])
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return t.skip('strace is not installed')
  }
  const between = /write\(1, "opened".*?write\(1, "acknowledged"/s.exec(await fs.readFile(trace, 'utf8'))?.[0] ?? ''
  assert.match(between, /\bf(data)?sync\(/)
})

test('a home that is open cannot be opened a second time, from here or from another process', async (t) => {
  const home = await temporaryFolder(t)
  await openFor(t, home)
  await assert.rejects(openStore(home), { code: 'db_locked' })
  const command = `
    const { openStore } = await import(${JSON.stringify(path.join(import.meta.dirname, '../../node/store.ts'))})
    await openStore(process.argv[1]).catch((error) => process.stdout.write(error.code))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', command, home])
  assert.equal(stdout, 'db_locked')
})

test('a home whose path speaks of a lock is not called locked for it', () => {
  const cause = Object.assign(new Error("EACCES: permission denied, mkdir '/srv/lock/home'"), { code: 'EACCES' })
  assert.equal(storageError(cause, 'The home /srv/lock/home cannot be made').code, 'disk_error')
})

test('a home that is a file, or stands below one, is a clear error', async (t) => {
  const folder = await temporaryFolder(t)
  await fs.writeFile(path.join(folder, 'file'), '')
  await assert.rejects(openStore(path.join(folder, 'file')), { code: 'disk_error', message: /file cannot be made/ })
  await assert.rejects(openStore(path.join(folder, 'file/home')), { code: 'disk_error', message: /cannot be made/ })
})

const overwrite = async (file: string) => fs.writeFile(file, Buffer.alloc((await fs.stat(file)).size, 0xa5))
const empty = (file: string) => fs.truncate(file, 0)
const remove = (file: string) => fs.rm(file)
const flip = async (file: string) => {
  const bytes = await fs.readFile(file)
  const at = bytes.length >> 1
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  await fs.writeFile(file, bytes)
}

const damages: [what: string, file: RegExp, damage: (file: string) => Promise<void>][] = [
  ['CURRENT removed', /^CURRENT$/, remove],
  ['CURRENT emptied', /^CURRENT$/, empty],
  ['CURRENT overwritten', /^CURRENT$/, overwrite],
  ['the manifest removed', /^MANIFEST/, remove],
  ['the manifest emptied', /^MANIFEST/, empty],
  ['the manifest overwritten', /^MANIFEST/, overwrite],
  ['a bit of the manifest flipped', /^MANIFEST/, flip],
  ['a table removed', /ldb$/, remove],
  ['the log removed', /\.log$/, remove],
  ['the log overwritten', /\.log$/, overwrite],
  ['a bit of the log flipped', /\.log$/, flip],
]

for (const [what, pattern, damage] of damages) {
  test(`a database with ${what} is not opened, and stays as it is`, async (t) => {
    const home = await filledHome(t, 2)
    const name = (await fs.readdir(path.join(home, 'db'))).find((file) => pattern.test(file)) as string
    await damage(path.join(home, 'db', name))
    const before = await filesOf(home)
    await assert.rejects(openStore(home), { code: 'db_corrupt', message: /is damaged.*your keys are in `seed`/ })
    assert.deepEqual(await filesOf(home), before)
  })
}

for (const [what, damage] of [
  ['overwritten', overwrite],
  ['emptied', empty],
] as const) {
  test(`a table that is ${what} is an error for whoever reads it, and is not overwritten`, async (t) => {
    const home = await filledHome(t, 3)
    const names = (await fs.readdir(path.join(home, 'db'))).filter((file) => file.endsWith('ldb'))
    for (const name of names) await damage(path.join(home, 'db', name))
    const before = await filesOf(home)
    const store = await openFor(t, home)
    await assert.rejects(all(store.table('t').entries()), { code: 'db_corrupt' })
    await assert.rejects(all(store.datastore.query({})), { code: 'db_corrupt' })
    await assert.rejects(store.table('t').get('k10, which none has'), { code: 'db_corrupt' })
    const after = await filesOf(home)
    for (const name of names) assert.equal(after.get(name), before.get(name))
  })
}

test('a log whose last write was torn by a crash opens without that write', async (t) => {
  const home = await filledHome(t, 1)
  const [log] = (await fs.readdir(path.join(home, 'db'))).filter((file) => file.endsWith('.log'))
  const file = path.join(home, 'db', log as string)
  await fs.truncate(file, (await fs.stat(file)).size - 5)
  const store = await openFor(t, home)
  assert.ok(await store.table('t').get('k18'))
  assert.equal(await store.table('t').get('k19'), undefined)
})

test('a first start that was killed before it had written anything starts again', async (t) => {
  const home = await temporaryFolder(t)
  await fs.mkdir(path.join(home, 'db'))
  await fs.writeFile(path.join(home, 'db/MANIFEST-000001'), 'half')
  await fs.writeFile(path.join(home, 'db/LOCK'), '')
  const store = await openFor(t, home)
  await store.table('t').put('a', 1)
  assert.equal(await store.table('t').get('a'), 1)
})

/** A disk of `size` that is unmounted after the test; undefined where nobody may mount one. */
async function smallDisk(t: TestContext, size: string): Promise<string | undefined> {
  const folder = await temporaryFolder(t)
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'p2pns-test', folder])
  } catch {
    return undefined
  }
  return folder
}

test('a full disk is said to be full, keeps what was acknowledged, and takes more when there is space again', async (t) => {
  const disk = await smallDisk(t, '2m')
  if (disk === undefined) return t.skip('mounting a small disk needs root')
  try {
    const home = path.join(disk, 'home')
    const store = await openStore(home)
    const table = store.table<string>('t')
    const acknowledged: string[] = []
    const fill = async () => {
      for (let i = 0; ; i++) {
        await table.put(`k${i}`, 'x'.repeat(50_000))
        acknowledged.push(`k${i}`)
      }
    }
    await assert.rejects(fill(), { code: 'disk_full', message: /the disk is full. Free some space/ })
    await assert.rejects(async () => store.datastore.put(new Key('/a'), new Uint8Array(200_000)), { code: 'disk_full' })
    await store.close()
    await fs.writeFile(path.join(disk, 'filler'), Buffer.alloc(2 << 20)).catch(() => {})
    await assert.rejects(openStore(path.join(disk, 'second')), { code: 'disk_full' })
    await assert.rejects(openStore(home), { code: 'disk_full' })

    await run('mount', ['-o', 'remount,size=16m', disk])
    const again = await openStore(home)
    for (const key of acknowledged) assert.equal((await again.table<string>('t').get(key))?.length, 50_000)
    await again.table('t').put('more', 1)
    await again.close()
  } finally {
    await run('umount', [disk])
  }
})

test('errors of the store are ours, with a code', async (t) => {
  const store = await openStore(await temporaryFolder(t))
  await store.close()
  for (const work of [store.table('t').get('a'), store.table('t').put('a', 1), store.table('t').delete('a')]) {
    await assert.rejects(work, P2pnsError)
  }
})

test('a home that cannot be made although its parent is there is an error at once', {
  skip: existsSync('/proc/self') ? false : 'needs /proc',
}, async () => {
  await assert.rejects(openStore('/proc/p2pns-home'), { code: 'disk_error' })
})
