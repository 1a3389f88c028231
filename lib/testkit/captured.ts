/** A command of this process, with what it writes kept instead of shown. */
import { vi } from 'vitest'

/** Exit code, standard output and standard error of the command. Mocks of `vi` are restored behind it. */
export async function captured(
  command: () => Promise<number>,
): Promise<{ exitCode: number; out: string; error: string }> {
  const written = { out: '', error: '' }
  const keep = (stream: 'out' | 'error') => (text: string | Uint8Array) => {
    written[stream] += String(text)
    return true
  }
  vi.spyOn(process.stdout, 'write').mockImplementation(keep('out'))
  vi.spyOn(process.stderr, 'write').mockImplementation(keep('error'))
  try {
    return { exitCode: await command(), ...written }
  } finally {
    vi.restoreAllMocks()
  }
}
