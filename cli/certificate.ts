/** The certificate of the resolver: read from its files, and read again when they change, as whoever renews it leaves them. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { unwatchFile, watchFile } from 'node:fs'
import * as fs from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { P2pnsError } from '../node/core/errors.ts'
import type { Certificate } from '../resolver/index.ts'

/** Paths of PEM files, absolute. */
export interface CertificateFiles {
  /** The certificate, then those between it and one that clients trust. */
  cert: string
  key: string
}

/** A chain of certificates has some kB. */
const MAX_BYTES = 256 * 1024
/** ms. */
const LOOK_EVERY = 60_000

/** `notes`: what is allowed, and hardly meant. `now`: ms since 1970. Errors: file_missing, certificate_invalid. */
export async function readCertificate(
  { cert, key }: CertificateFiles,
  now: number,
): Promise<{ tls: Certificate; notes: string[] }> {
  const [certFile, keyFile] = [await readBounded(cert), await readBounded(key)]
  const certificate = parsed(`${cert} holds no certificate in PEM`, () => new X509Certificate(certFile.text))
  const locked = /^-----BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(keyFile.text)
  if (locked) throw new P2pnsError('certificate_invalid', `The key in ${key} is locked with a passphrase`)
  const privateKey = parsed(`${key} holds no private key in PEM`, () => createPrivateKey(keyFile.text))
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new P2pnsError('certificate_invalid', `The key in ${key} is not that of the certificate in ${cert}`)
  }
  const tls = { cert: certFile.text, key: keyFile.text }
  // What OpenSSL wants besides, such as a key that is long enough.
  parsed(`${cert} and ${key} cannot be used`, () => createSecureContext(tls))
  const notes: string[] = []
  if ((keyFile.mode & 0o004) !== 0 && process.platform !== 'win32') {
    notes.push(`note: every user of this machine can read the key; chmod 600 ${key}`)
  }
  if (certificate.validToDate.getTime() < now)
    notes.push(`note: the certificate in ${cert} has ended; clients refuse it`)
  return { tls, notes }
}

export interface Watching {
  /** The certificate in use now. */
  current: Certificate | undefined
  use: (tls: Certificate) => void
  note: (line: string) => void
  now: () => number
  /** ms. Default: a minute. */
  every?: number
}

/** Has a certificate used that stands in the files later on; one that cannot be used changes nothing. Gives back what ends it. */
export function watchCertificate(
  files: CertificateFiles,
  { current, use, note, now, every = LOOK_EVERY }: Watching,
): () => void {
  // Whoever renews writes one file after the other: what does not fit together yet is read again after the next change.
  const look = async (): Promise<void> => {
    try {
      const { tls, notes } = await readCertificate(files, now())
      if (tls.cert === current?.cert && tls.key === current.key) return
      current = tls
      use(tls)
      for (const line of [...notes, `The certificate in ${files.cert} has changed; the new one is used.`]) note(line)
    } catch (error) {
      note(`note: the certificate has changed, and the old one stays in use: ${(error as Error).message}`)
    }
  }
  const changed = (): void => void look()
  // Links are followed, and a new file in the place of the old one is seen, which is how certificates are renewed.
  const paths = Object.values(files)
  for (const path of paths) watchFile(path, { interval: every, persistent: false }, changed)
  return () => {
    for (const path of paths) unwatchFile(path, changed)
  }
}

async function readBounded(path: string): Promise<{ text: string; mode: number }> {
  try {
    await using file = await fs.open(path, 'r')
    const { mode } = await file.stat()
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_BYTES + 1))
    if (bytesRead > MAX_BYTES) throw new P2pnsError('certificate_invalid', `${path} is too large for a certificate`)
    return { text: buffer.toString('latin1', 0, bytesRead), mode }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (cause instanceof P2pnsError) throw cause
    if (code === 'ENOENT') throw new P2pnsError('file_missing', `There is no file ${path}`, { cause })
    throw new P2pnsError('certificate_invalid', `${path} cannot be read (${code})`, { cause })
  }
}

/** What `read` gives; `what` as the error when it cannot. */
function parsed<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new P2pnsError('certificate_invalid', what, { cause })
  }
}
