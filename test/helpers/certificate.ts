/** A certificate that its own key has signed, in files as a person has them. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import * as path from 'node:path'

export interface MadeCertificate {
  files: { cert: string; key: string }
  cert: string
  key: string
}

/** `names` as openssl takes them, such as `DNS:dns.example,IP:127.0.0.1`; `title` tells its files from others of the folder. */
export function makeCertificate(folder: string, { names = 'DNS:localhost', title = 'made' } = {}): MadeCertificate {
  const files = { cert: path.join(folder, `${title}.cert`), key: path.join(folder, `${title}.key`) }
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const who = ['-subj', `/CN=${title}`, '-addext', `subjectAltName=${names}`]
  execFileSync('openssl', [...kind, ...who, '-keyout', files.key, '-out', files.cert], { stdio: 'ignore' })
  return { files, cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') }
}
