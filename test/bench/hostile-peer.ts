/** One source of bench/hostile.ts: serves a file, honestly or with a lie, to whoever has one of the tickets it gives out over IPC. */
import { randomInt } from 'node:crypto'
import { type Duplex, duplexPair } from 'node:stream'
import { toHex } from '../../node/core/encoding.ts'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { Limiter } from '../../node/core/limiter.ts'
import { Seeder } from '../../node/files/seed.ts'
import { sharePath } from '../../node/files/share.ts'
import { shareSource } from '../../node/files/share-source.ts'
import { corrupt, type Lie, lieOver, stall, swap, truncate, type When } from '../files/lies.ts'
import { linkPort } from '../helpers/link-port.ts'

export const LIES: Record<string, (when: When) => Lie> = { corrupt, truncate, swap, stall }

export type PeerRequest =
  | { type: 'share'; source: string; leaves: string; rate: number }
  /** One ticket; on its link chunks are told as `lie` says, undefined: as they are. */
  | { type: 'ticket'; lie: string | undefined }
  /** Chunks that it lied about since it was asked last. */
  | { type: 'lies' }

export interface PeerAnswer {
  id: string
  port: number
  ticket: { id: string; secret: string }
  lies: number
}

const seeder = new Seeder({ now: () => performance.now(), random: (end) => randomInt(end) })
let lies = 0
const server = await linkPort({
  onLink: (socket, name) => {
    const lie = LIES[name]
    if (lie) lieTo(socket, lie)
    else void seeder.serve(socket, 'fetcher')
  },
})

function lieTo(socket: Duplex, lie: (when: When) => Lie): void {
  const [inner, served] = duplexPair()
  inner.on('close', () => served.destroy())
  void seeder.serve(served, 'fetcher')
  const counted = lie(() => ++lies > 0)
  void lieOver(inner, socket, counted)
}

async function perform(request: PeerRequest): Promise<Partial<PeerAnswer>> {
  switch (request.type) {
    case 'share': {
      const { source, leaves, rate } = request
      const pair = keyPairFromSeed(new Uint8Array(32))
      const share = await sharePath(source, { pair, created: 0, leaves })
      seeder.add(share.manifest.id, shareSource(share), { limiter: new Limiter(rate, () => performance.now()) })
      return { id: share.manifest.id, port: server.port }
    }
    case 'ticket': {
      const { id, secret } = server.issue(request.lie ?? '')
      return { ticket: { id: toHex(id), secret: toHex(secret) } }
    }
    case 'lies': {
      const told = lies
      lies = 0
      return { lies: told }
    }
    default:
      return {}
  }
}

process.on('message', (request: PeerRequest) => {
  void perform(request).then((answer) => process.send?.(answer))
})
