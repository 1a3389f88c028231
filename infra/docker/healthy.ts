/** `node infra/docker/healthy.ts PORT`: the health check of a container. Exit 0 when /readyz answers 200, else 1 with its answer. */
const port = process.argv[2] ?? ''
try {
  const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(4_000) })
  if (!answer.ok) process.stdout.write(await answer.text())
  process.exitCode = answer.ok ? 0 : 1
} catch (error) {
  process.stdout.write(String(error))
  process.exitCode = 1
}
