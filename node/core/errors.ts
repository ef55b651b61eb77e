/**
 * The one table of errors. A message says what happened and to what (`what`, given by the thrower) and what to do
 * next (`next`, from the table). `exit` is the exit code of the command line (docs/errors.md is made from this table).
 */
export const ERRORS = {
  // usage (2)
  usage: { exit: 2, next: 'See `p2pns --help`.' },
  name_invalid: { exit: 2, next: 'A name looks like alice.p2p, www.alice.p2p, or <52-character key>.p2p.' },
  record_data_invalid: {
    exit: 2,
    next: 'Check it: A takes an IPv4 address, AAAA an IPv6 one; a type is a name such as TXT, or TYPE65.',
  },
  file_name_invalid: { exit: 2, next: 'Rename it, then share again.' },
  cid_invalid: { exit: 2, next: 'A CID is printed by `p2pns share`; it starts with "b".' },
  words_invalid: { exit: 2, next: 'There are 24 words, in order; compare each with your copy.' },
  certificate_invalid: {
    exit: 2,
    next: 'Give a certificate with --cert and its key with --key, both as PEM; docs/resolver.md says where to get one.',
  },
  seed_locked: {
    exit: 2,
    next: 'Give its passphrase on a terminal or in P2PNS_PASSPHRASE, or run `p2pns keys unlock` once.',
  },

  // not found (3)
  name_not_found: { exit: 3, next: 'Check the spelling; its owner may not have published it yet.' },
  type_not_found: { exit: 3, next: 'The name exists; ask for another type.' },
  content_not_found: { exit: 3, next: 'Nobody who has it is online; try again when its publisher is.' },
  entry_not_found: { exit: 3, next: 'Fetch the whole name to see what it holds.' },
  file_missing: { exit: 3, next: 'Check the path.' },
  transfer_not_found: { exit: 3, next: 'See `p2pns transfers` for those there are.' },
  not_known: { exit: 3, next: 'See `p2pns trust` for what this home knows.' },

  // verification failed (4)
  content_differs: { exit: 4, next: 'Fetch it again to another place to have what is right.' },
  signature_invalid: { exit: 4, next: 'It was refused; whoever sent it cannot be believed.' },
  key_mismatch: { exit: 4, next: 'It was refused; it does not belong under the key it was found at.' },
  malformed: { exit: 4, next: 'It was refused; it is not in the one form the specification allows.' },
  too_large: { exit: 4, next: 'It was refused; make it smaller.' },
  seq_in_future: { exit: 4, next: 'Check the clock of the machine that signed it, and of this one.' },
  clock_wrong: { exit: 4, next: 'Set the clock of this machine, then try again.' },
  lease_invalid: { exit: 4, next: 'It was refused; register the name again.' },
  lease_expired: { exit: 4, next: 'Its owner has to renew it.' },
  proof_invalid: { exit: 4, next: 'It was refused; it proves nothing against any witness.' },
  work_missing: { exit: 4, next: 'A first claim needs the proof of work that the realm asks for.' },
  path_unsafe: { exit: 4, next: 'Nothing was written; do not trust its publisher.' },
  chunk_corrupt: { exit: 4, next: 'The peer that sent it was dropped.' },
  frame_invalid: { exit: 4, next: 'The link was closed.' },
  ticket_invalid: { exit: 4, next: 'Ask the peer for a new ticket; one lives 30 seconds and works once.' },
  file_changed: { exit: 4, next: 'Whoever shares it has to share it again.' },
  passphrase_wrong: { exit: 4, next: 'Nothing was changed; try again.' },
  recovery_wrong: {
    exit: 4,
    next: 'Compare it with your copy; each recovery key works once, and the change it made showed the next one.',
  },

  // conflict (5)
  name_taken: { exit: 5, next: 'Choose another name.' },
  name_not_yours: { exit: 5, next: 'Only the home that holds its key can change it.' },
  record_older: { exit: 5, next: 'A newer record is already published; resolve it first.' },
  pin_conflict: { exit: 5, next: 'Ask its owner by another way before you believe either; `p2pns trust` shows both.' },
  target_exists: {
    exit: 5,
    next: 'Choose another place with -o; --force replaces a file by a file, and never a folder.',
  },
  target_blocked: { exit: 5, next: 'Move it away, or choose another place with -o.' },
  target_busy: { exit: 5, next: 'Wait for that fetch, or choose another place with -o.' },
  node_running: { exit: 5, next: 'Stop it first, or use another --home.' },
  seed_exists: { exit: 5, next: 'A seed is never replaced: use another --home, or move this one to a safe place.' },
  dns_setup_blocked: { exit: 5, next: 'Nothing was changed; docs/resolver.md shows every way, also by hand.' },
  change_pending: { exit: 5, next: 'Run that command again to finish it.' },

  // unreachable (6)
  no_introducer: { exit: 6, next: 'Give one with --introducer ADDR; if that was done, it did not answer yet.' },
  network_unreachable: { exit: 6, next: 'Check the connection and the introducer address.' },
  peer_unreachable: { exit: 6, next: 'It may be offline; try again later.' },
  timed_out: { exit: 6, next: 'Try again; the other side may be slow or gone.' },
  quorum_missing: { exit: 6, next: 'Try again when more of its witnesses are online.' },
  limit_reached: { exit: 6, next: 'Try again tomorrow.' },
  not_admitted: { exit: 6, next: 'Ask who runs it for access: a token, or a place on its list.' },

  // unexpected (1)
  disk_full: { exit: 1, next: 'Free some space and run the same command again; it goes on where it stopped.' },
  disk_error: { exit: 1, next: 'Check the disk and the permissions.' },
  db_corrupt: {
    exit: 1,
    next: 'Move the folder away and start again: your keys are in `seed`, beside it, and names come back with `p2pns register`.',
  },
  db_locked: { exit: 5, next: 'Another p2pns uses this home; stop it or pass another --home.' },
  seed_unreadable: { exit: 1, next: 'Put the backup of your seed back; without it your names are lost.' },
  dns_setup_failed: { exit: 1, next: 'Run it by hand to see why; files are as they were before `p2pns dns setup`.' },
  port_in_use: { exit: 1, next: 'Choose another port, or 0 for any.' },
  node_version: { exit: 1, next: 'Install Node 24; in a clone of p2pns, `npm start` and `npx p2pns` bring it.' },
  internal: { exit: 1, next: 'This is a bug in p2pns; please report it.' },
  interrupted: { exit: 130, next: 'Run the same command again to go on.' },
} as const

export type ErrorCode = keyof typeof ERRORS

export class P2pnsError extends Error {
  readonly code: ErrorCode
  /** What happened, and to what; one clause without the final full stop. */
  readonly what: string

  constructor(code: ErrorCode, what: string, options?: { cause?: unknown }) {
    super(`${what}. ${ERRORS[code].next}`, options)
    this.name = 'P2pnsError'
    this.code = code
    this.what = what
  }

  get exitCode(): number {
    return ERRORS[this.code].exit
  }

  toJSON(): { code: ErrorCode; message: string } {
    return { code: this.code, message: this.message }
  }
}

/** True when `error` is ours, and of one of `codes` if any are given. */
export function isError(error: unknown, ...codes: ErrorCode[]): error is P2pnsError {
  return error instanceof P2pnsError && (codes.length === 0 || codes.includes(error.code))
}
