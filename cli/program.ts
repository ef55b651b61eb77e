/** The commands and options of `p2pns`, all in one tree. */
import { Command } from 'commander'
import { VERSION } from '../node/version.ts'
import { defineCache } from './commands/cache.ts'
import { defineCat } from './commands/cat.ts'
import { defineDns } from './commands/dns.ts'
import { defineDoctor } from './commands/doctor.ts'
import { defineFetch } from './commands/fetch.ts'
import { defineIntroducer } from './commands/introducer.ts'
import { defineKeys } from './commands/keys.ts'
import { defineLimits } from './commands/limits.ts'
import { defineManifest } from './commands/manifest.ts'
import { definePeers } from './commands/peers.ts'
import { defineProbe } from './commands/probe.ts'
import { defineReceive } from './commands/receive.ts'
import { defineRegister } from './commands/register.ts'
import { defineRelease } from './commands/release.ts'
import { defineRenew } from './commands/renew.ts'
import { defineResolve } from './commands/resolve.ts'
import { defineRotate } from './commands/rotate.ts'
import { defineShare } from './commands/share.ts'
import { defineStatus } from './commands/status.ts'
import { defineTransfer } from './commands/transfer.ts'
import { defineTransfers } from './commands/transfers.ts'
import { defineTrust } from './commands/trust.ts'
import { defineUnshare } from './commands/unshare.ts'
import { defineUp } from './commands/up.ts'
import { addExamples } from './options.ts'
import { secretsFrom } from './secrets.ts'
import { sessionOpener } from './session.ts'
import type { World } from './world.ts'

/** `signal` is aborted by Ctrl-C. */
export function createProgram(world: World, signal: AbortSignal): Command {
  const program = new Command('p2pns')
    .description('Names you own on your own key, and files fetched straight from peers.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .option('--home <dir>', 'keep everything of this node here (default: $P2PNS_HOME, else ~/.local/share/p2pns)')
    .option('--json', 'print one JSON object per line')
    .option('--quiet', 'show no progress')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void world.stdout.write(text),
      writeErr: (text) => void world.stderr.write(text),
      // The error comes back as an exception and is told in our own form (run.ts).
      outputError: () => {},
    })
    .exitOverride()

  addExamples(program, [
    ['p2pns introducer', 'a meeting point; give its address to the others'],
    ['p2pns up --introducer ADDR', 'run a node with its DNS resolver'],
    ['p2pns register alice.p2p --a 192.0.2.7', 'own a name'],
    ['p2pns share ./photos --as alice.p2p', 'let a name lead to a folder'],
    ['p2pns fetch alice.p2p', 'fetch it, on any other machine'],
  ])

  const open = sessionOpener(world, signal)
  const secrets = secretsFrom(world)
  defineUp(program, open)
  defineIntroducer(program, open)
  defineRegister(program, open)
  defineResolve(program, open)
  defineShare(program, open)
  defineUnshare(program, open)
  defineFetch(program, open)
  defineTransfers(program, open)
  defineCat(program, open)
  defineManifest(program, open)
  defineDns(program, open)
  defineDoctor(program, open)
  defineProbe(program, open)
  defineLimits(program, open)
  defineStatus(program, open)
  definePeers(program, open)
  defineKeys(program, open, secrets)
  defineRenew(program, open)
  defineReceive(program, open)
  defineTransfer(program, open, secrets)
  defineRotate(program, open, secrets)
  defineRelease(program, open, secrets)
  defineTrust(program, open)
  defineCache(program, open)
  return program
}
