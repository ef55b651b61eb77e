/** What a plan is made of. Pure. */
import type { HostPort } from '../options.ts'
import type { Facts, System } from './detect.ts'

export interface PlannedFile {
  path: string
  /** All of it. */
  content: string
  /** It is another's, and what is in it stays; without this only a file of ours may be there. */
  edits?: true
}

export interface Plan {
  system: System
  dns: HostPort
  files: PlannedFile[]
  /** After the files are written, in order. A check of the new files comes first: when it fails all is put back. */
  commands: string[][]
  /** After the files are as they were. */
  undo: string[][]
  notes: string[]
  /** Every name is asked of our resolver, so it has to be there and to forward what is not .p2p. */
  takesAll: boolean
  /** Why nothing of this may be done. */
  blocked?: string
}

export type Parts = Partial<Omit<Plan, 'system' | 'dns'>>

/** How a service takes up its new configuration. */
export function service({ folders, commands }: Facts, name: string): { commands: string[][]; notes: string[] } {
  // systemctl can be there on a machine that systemd did not start (sd_booted(3)).
  if (folders.includes('/run/systemd/system')) return { commands: [['systemctl', 'restart', name]], notes: [] }
  if (commands.includes('rc-service')) return { commands: [['rc-service', name, 'restart']], notes: [] }
  if (commands.includes('service')) return { commands: [['service', name, 'restart']], notes: [] }
  return { commands: [], notes: [`restart ${name} for this to count, and after --undo too`] }
}
