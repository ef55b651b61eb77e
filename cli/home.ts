/** Where a node keeps everything it has: keys, records, what it shares, its socket. */
import * as os from 'node:os'
import * as path from 'node:path'

/** `--home`, else P2PNS_HOME, else `$XDG_DATA_HOME/p2pns` or `~/.local/share/p2pns` (XDG Base Directory 0.8). Absolute. */
export function homeFolder(option: string | undefined, env: Record<string, string | undefined>, cwd: string): string {
  const chosen = option || env.P2PNS_HOME
  if (chosen) return path.resolve(cwd, chosen)
  // The specification has a relative XDG_DATA_HOME ignored.
  const data = env.XDG_DATA_HOME && path.isAbsolute(env.XDG_DATA_HOME) ? env.XDG_DATA_HOME : undefined
  return path.join(data ?? path.join(env.HOME || os.homedir(), '.local', 'share'), 'p2pns')
}

/** An introducer lives beside the node of the same home, with a key and a store of its own. */
export function introducerFolder(home: string): string {
  return path.join(home, 'introducer')
}
