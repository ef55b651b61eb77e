/** BitTorrent contenders: a tracker that knows one swarm, and drivers for libtorrent (python3-libtorrent), aria2 and webtorrent. */
import { type ChildProcess, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as path from 'node:path'
import { start } from '../measure.ts'

/** Answers an announce with everybody who announced (BEP 3, compact form of BEP 23). */
export async function tracker(): Promise<{ url: string; server: Server }> {
  const peers = new Set<string>()
  const server = createServer((request, response) => {
    const port = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('port'))
    const list = Buffer.concat(
      [...peers].map((peer) => Buffer.from([127, 0, 0, 1, Number(peer) >> 8, Number(peer) & 255])),
    )
    peers.add(String(port))
    response.end(
      Buffer.concat([Buffer.from(`d8:intervali5e12:min intervali2e5:peers${list.length}:`), list, Buffer.from('e')]),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`, server }
}

const LIBTORRENT = `
import libtorrent as lt, sys, time, os
mode, torrent, folder, rate, url, tracker = sys.argv[1:7]
if mode == 'make':
    fs = lt.file_storage(); lt.add_files(fs, url); t = lt.create_torrent(fs)
    if tracker: t.add_tracker(tracker)
    lt.set_piece_hashes(t, os.path.dirname(url)); open(torrent, 'wb').write(lt.bencode(t.generate())); sys.exit(0)
s = lt.session({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
  'enable_outgoing_utp': False, 'enable_incoming_utp': False, 'out_enc_policy': 2, 'in_enc_policy': 2, 'allow_multiple_connections_per_ip': True,
  'upload_rate_limit': int(rate), 'alert_mask': 0, 'announce_to_all_trackers': True, 'min_reconnect_time': 1, 'mixed_mode_algorithm': 0, 'rate_limit_ip_overhead': False})
a = lt.add_torrent_params(); a.ti = lt.torrent_info(torrent); a.save_path = folder
if mode == 'seed': a.flags |= lt.torrent_flags.seed_mode
h = s.add_torrent(a)
f = lt.ip_filter(); f.add_rule('0.0.0.0', '255.255.255.255', 1 << lt.session.global_peer_class_id)
s.set_peer_class_filter(f)
while s.listen_port() == 0: time.sleep(0.01)
if mode == 'leech' and url:
    time.sleep(0.05); h.connect_peer(('127.0.0.1', int(url)))
if mode == 'seed':
    while h.status().state != lt.torrent_status.seeding: time.sleep(0.01)
print('ready', s.listen_port(), flush=True)
while mode == 'leech' and not h.status().is_seeding: time.sleep(0.005)
print('done', flush=True)
sys.stdin.read()
`

export class Libtorrent {
  readonly #driver: string
  readonly torrent: string

  constructor(folder: string, name = 'x') {
    this.#driver = path.join(folder, 'driver.py')
    this.torrent = path.join(folder, `${name}.torrent`)
    fs.writeFileSync(this.#driver, LIBTORRENT)
  }

  static get available(): boolean {
    try {
      execFileSync('python3', ['-c', 'import libtorrent'], { stdio: 'ignore' })
      return true
    } catch {
      return find('/usr/bin/python3')
    }
  }

  /** `source`: file or folder. */
  make(source: string, announce = ''): void {
    execFileSync(python(), [this.#driver, 'make', this.torrent, '', '', source, announce])
  }

  /** Prints `ready PORT`, and `done` when it has everything. `rate`: bytes a second of upload, 0 for no limit. `peer`: a port to connect to. */
  start(mode: 'seed' | 'leech', folder: string, rate: number, peer = ''): ChildProcess {
    return start(python(), [this.#driver, mode, this.torrent, folder, String(rate), peer, ''])
  }
}

function find(command: string): boolean {
  try {
    execFileSync(command, ['-c', 'import libtorrent'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Debian's module belongs to Debian's Python, whatever other one comes first. */
function python(): string {
  return find('/usr/bin/python3') ? '/usr/bin/python3' : 'python3'
}

/** `rate`: bytes a second of upload. Ends when it has everything, unless it seeds. */
export function aria2(torrent: string, folder: string, rate: number, seed: boolean): ChildProcess {
  const quiet = [
    '--no-conf',
    '--enable-dht=false',
    '--enable-dht6=false',
    '--enable-peer-exchange=false',
    '--bt-enable-lpd=false',
  ]
  const fast = [
    '--bt-request-peer-speed-limit=100M',
    '--bt-tracker-interval=2',
    '--file-allocation=none',
    '--disable-ipv6=true',
  ]
  const share = seed
    ? ['--seed-ratio=0.0', '--bt-seed-unverified=true', '--check-integrity=false']
    : ['--seed-ratio=0.0']
  const hook = ['--on-bt-download-complete', path.join(path.dirname(torrent), 'hook.sh')]
  return start('aria2c', [
    ...quiet,
    ...fast,
    ...share,
    ...hook,
    `--dir=${folder}`,
    `--max-overall-upload-limit=${rate}`,
    torrent,
  ])
}

/** WebRTC is a native module that often cannot be installed, and is imported whether it is used or not: here it has nothing in it. */
const WEBTORRENT = `
import * as fs from 'node:fs'
import { registerHooks } from 'node:module'
const names = ['RTCPeerConnection', 'RTCIceCandidate', 'RTCSessionDescription']
const none = 'data:text/javascript,' + names.map((name) => 'export const ' + name + ' = undefined').join(';')
registerHooks({
  resolve: (name, context, next) => name === 'webrtc-polyfill' ? { url: none, shortCircuit: true } : next(name, context),
})
const { default: WebTorrent } = await import('webtorrent')
const [mode, place, file, peer] = process.argv.slice(2)
const client = new WebTorrent({ dht: false, lsd: false, tracker: false, utp: false, natUpnp: false, natPmp: false })
client.on('error', (error) => { console.error(error); process.exit(1) })
if (mode === 'seed') client.seed(place, { announce: [] }, (torrent) => {
  fs.writeFileSync(place + '.web.torrent', torrent.torrentFile)
  const tell = () => client.torrentPort ? console.log('ready ' + client.torrentPort + ' ' + place + '.web.torrent') : setTimeout(tell, 20)
  tell()
})
else client.add(file, { path: place, announce: [] }, (torrent) => {
  torrent.on('done', () => console.log('done'))
  torrent.addPeer('127.0.0.1:' + peer)
})
`

/** From npm, into `folder`; only TCP is used, which needs none of the native modules that install scripts would build. */
export function installWebtorrent(folder: string): string {
  const place = path.join(folder, 'webtorrent')
  fs.mkdirSync(place)
  fs.writeFileSync(path.join(place, 'package.json'), '{"type":"module"}')
  const quiet = ['--silent', '--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional']
  execFileSync('npm', ['install', ...quiet, '--prefix', place, 'webtorrent'], { stdio: 'pipe' })
  fs.writeFileSync(path.join(place, 'driver.js'), WEBTORRENT)
  return place
}

/** Prints `ready PORT FILE` when it seeds, and `done` when it has everything. */
export function webtorrent(place: string, ...args: string[]): ChildProcess {
  return start(process.execPath, [path.join(place, 'driver.js'), ...args], { cwd: place })
}
