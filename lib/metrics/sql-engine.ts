/**
 * Port: what definitions need of a SQL engine. `lib/io/duckdb.ts` satisfies it structurally; tests may pass anything that does.
 */

/** Runs SQL and returns the rows of the last statement. Rejects when the SQL is refused. */
export interface SqlEngine {
  query(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]>
}
