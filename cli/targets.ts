/** What a person may point at: a name, a content id or a path. */
import * as path from 'node:path'

/** A CIDv1 in base32, as `p2pns share` prints it. A file of such a name can be given as `./b...`. */
export function looksLikeCid(text: string): boolean {
  return /^b[a-z2-7]{58}$/.test(text)
}

/**
 * Where `fetch` puts what it gets when nobody says: the last part of the target, in the current folder. It is known
 * before anything is fetched, and it is the person's own word rather than the publisher's.
 */
export function defaultOut(target: string): string {
  const [plain = ''] = target.replace(/^p2pns:(?:\/\/)?/, '').split(/[?#]/)
  // Of a glob, the folder that it begins in.
  const named = plain.split('/').slice(
    0,
    1 +
      plain
        .split('/')
        .slice(1)
        .findIndex((part) => /[*?[{]/.test(part)) || undefined,
  )
  return path.posix.basename(named.join('/').replace(/\/+$/, '')) || 'fetched'
}
