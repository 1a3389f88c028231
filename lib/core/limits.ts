/** Every bound of the system in one place, with its unit and reason. At a bound Tidemark refuses by name; it never truncates. */
export const LIMITS = {
  /** Bytes of one HTTP body of events; a bigger one is answered 413. */
  ingestBodyBytes: 4 * 1024 * 1024,
  /** Events of one HTTP body: keeps one request below ~100 ms of encoding. */
  ingestEvents: 10_000,
  /** Bytes of bodies that one ingest process holds at a time; beyond it requests are answered 503. */
  ingestBytesInFlight: 64 * 1024 * 1024,
  /** Ids one call may try when other tickers overtake it. */
  barrierAttempts: 5,
  /** Bytes of one record value; Kafka brokers default to 1 MiB per message. */
  recordBytes: 900 * 1024,
  /** Bytes of one record batch, as appended; topics are created so that the broker takes a little more than this. */
  batchBytes: 6 * 1024 * 1024,
  /** Bytes one compressed record batch may inflate to (rule K13). */
  inflatedBatchBytes: 16 * 1024 * 1024,
  /** Partitions of one stream; each costs a reader, a manifest chain and an open epoch. */
  streamPartitions: 256,
  /** Epochs of the longest dedup horizon: 45 days of one-minute epochs. */
  dedupHorizonEpochs: 65_536,
  /** Length of the largest window, ms: a leap year, so that a day file of a view stays a day file. */
  windowMs: 366 * 86_400_000,
  /** (window, group) entries of one metric in one open epoch of one partition. */
  epochEntries: 2_000_000,
  /** Bytes of the distinct texts of one dimension of a metric in one open epoch of one partition. */
  dimensionBytes: 256 * 1024 * 1024,
  /** Bytes of the texts of one group: a row of partials fits a record batch. */
  groupBytes: 4 * 1024 * 1024,
  /** (window, group) entries the serving store holds for one metric. */
  servedEntries: 20_000_000,
  /** Live records of one partition that wait for what they build on. The oldest go first: that costs freshness, never exactness. */
  waitingRecords: 64,
  /** Incomplete tables in parts of one partition; the log keeps their order, so more than one or two means that parts were lost. */
  incompleteTables: 16,
  /** Event ids one partition's dedup ring may hold over its whole horizon. */
  dedupIds: 20_000_000,
  /** Rows an answer may have; `limit` may ask for at most this many. */
  answerRows: 1_000_000,
  /** Rows an answer has when no limit is given. */
  answerRowsDefault: 10_000,
  /** Live connections (server-sent events) of one serving process; one more is answered 503. */
  liveClients: 500,
  /** Bytes of one record of live or sealed partials; a bigger table is published in several records. */
  partialRecordBytes: 700 * 1024,
  /** Bytes of one registered schema's text. */
  schemaBytes: 256 * 1024,
  /** Schemas that one schema may refer to, over all steps. */
  schemaReferences: 100,
  /** Types one registered schema may nest. */
  schemaDepth: 64,
  /** Fields of one registered schema, nested records included. */
  schemaFields: 1_000,
  /** Symbols of one enum of a registered schema. */
  schemaSymbols: 10_000,
  /** Characters of one full name, alias or symbol in a registered schema. */
  schemaNameChars: 1_024,
  /** Bytes of a fixed in a registered schema: more than any record batch inflates to. */
  schemaFixedBytes: 16 * 1024 * 1024,
  /** Values that one datum of a registered schema must hold at least, and values one default may expand to. */
  schemaValues: 100_000,
} as const
