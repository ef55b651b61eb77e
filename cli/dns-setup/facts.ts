/** Reads the facts about a machine; nothing is changed. */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type Facts, RESOLV_CONF } from './detect.ts'
import type { Machine } from './machine.ts'
import { type Receipt, readReceipt, sha256 } from './receipt.ts'
import { withoutBlock } from './text.ts'

const FILES = [
  RESOLV_CONF,
  '/etc/nsswitch.conf',
  '/etc/resolvconf.conf',
  '/etc/resolvconf/resolv.conf.d/head',
  '/etc/dnsmasq.conf',
  '/etc/default/dnsmasq',
  '/etc/unbound/unbound.conf',
  '/etc/NetworkManager/NetworkManager.conf',
]
/** Of these all with that ending. */
const FILES_IN = [
  ['/etc/NetworkManager/conf.d', '.conf'],
  ['/etc/dnssec-trust-anchors.d', '.negative'],
  ['/run/dnssec-trust-anchors.d', '.negative'],
  ['/usr/lib/dnssec-trust-anchors.d', '.negative'],
] as const
const FOLDERS = ['/run/systemd/system']
const COMMANDS = ['dnsmasq', 'rc-service', 'service']
/** Where services have their programs, which is not always on the path of a person. */
const SBIN = ['/usr/local/sbin', '/usr/sbin', '/sbin']
const ASKED = [
  ['resolvectl', '--version'],
  ['resolvectl', 'dns'],
  ['resolvectl', 'dnssec'],
]

export async function readFacts(machine: Machine): Promise<Facts> {
  const { platform, root } = machine
  const none: Facts = {
    platform,
    files: {},
    links: {},
    folders: [],
    commands: [],
    running: [],
    isMusl: false,
    said: {},
  }
  if (platform === 'win32' || platform === 'darwin') return none
  const at = (file: string): string => path.join(root, file)
  const receipt = await readReceipt(machine)
  const paths = [...FILES]
  for (const [folder, ending] of FILES_IN) {
    const names = await fs.readdir(at(folder)).catch(() => [])
    paths.push(...names.filter((name) => name.endsWith(ending)).map((name) => `${folder}/${name}`))
  }
  const [files, links] = [new Map<string, string>(), new Map<string, string>()]
  for (const file of paths) {
    const text = withoutUs(file, await fs.readFile(at(file)).catch(() => undefined), receipt)
    if (text !== undefined) files.set(file, text)
    const target = await fs.readlink(at(file)).catch(() => undefined)
    if (target !== undefined) links.set(file, target)
  }
  const isThere = (file: string): Promise<boolean> =>
    fs.access(at(file)).then(
      () => true,
      () => false,
    )
  const places = [
    ...new Set([...(machine.env.PATH ?? '').split(':').filter((place) => path.isAbsolute(place)), ...SBIN]),
  ]
  const hasCommand = async (name: string): Promise<boolean> =>
    (await Promise.all(places.map((place) => isThere(path.join(place, name))))).includes(true)
  const said = new Map<string, string>()
  if (await hasCommand('resolvectl')) {
    for (const command of ASKED) said.set(command.join(' '), await machine.run(command).catch(() => ''))
  }
  const libraries = await fs.readdir(at('/lib')).catch(() => [])
  return {
    ...none,
    files: Object.fromEntries(files),
    links: Object.fromEntries(links),
    folders: await filtered(FOLDERS, isThere),
    commands: await filtered(COMMANDS, hasCommand),
    running: await processNames(at('/proc')),
    isMusl: libraries.some((name) => name.startsWith('ld-musl-')),
    said: Object.fromEntries([...said].map(([command, text]) => [command, withoutServer(text, receipt)])),
  }
}

/** A file that we wrote is as it was before. */
function withoutUs(file: string, bytes: Buffer | undefined, receipt: Receipt | undefined): string | undefined {
  const ours = receipt?.files.find(({ path }) => path === file)
  if (bytes === undefined) return undefined
  if (ours === undefined || sha256(bytes) !== ours.sha256) return withoutBlock(bytes.toString())
  return ours.before === null ? undefined : Buffer.from(ours.before, 'base64').toString()
}

function withoutServer(text: string, receipt: Receipt | undefined): string {
  return receipt ? text.replaceAll(` ${receipt.dns}`, '') : text
}

async function filtered(names: string[], holds: (name: string) => Promise<boolean>): Promise<string[]> {
  const kept = await Promise.all(names.map(holds))
  return names.filter((_, i) => kept[i])
}

async function processNames(proc: string): Promise<string[]> {
  const ids = (await fs.readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name))
  const names = await Promise.all(ids.map((id) => fs.readFile(path.join(proc, id, 'comm'), 'utf8').catch(() => '')))
  return [...new Set(names.map((name) => name.trim()).filter(Boolean))]
}
