/** The words for the paths of a link, and which of two is the better one. */

/** From the cheapest to the dearest. `local`: within this process. */
export const PATHS = ['local', 'lan', 'direct-tcp', 'reversed-tcp', 'punched-tcp', 'punched-udp', 'relayed'] as const
export type Path = (typeof PATHS)[number]

/** Lower is better; a path that is not known yet is the worst. */
export function rankOf(path: string): number {
  const rank = (PATHS as readonly string[]).indexOf(path)
  return rank < 0 ? PATHS.length : rank
}
