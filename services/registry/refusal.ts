/**
 * What the registry answers when it does not do what was asked: Confluent's codes and sentences, which clients compare
 * word for word (the missing space after "soft deleted." is theirs). The first three digits of a code are its status.
 */
import { contextOf, DEFAULT_CONTEXT } from './records.ts'

/** A refusal with the body `{ error_code, message }`. */
export class RegistryRefusal extends Error {
  override readonly name = 'RegistryRefusal'
  readonly errorCode: number
  /** HTTP status. */
  readonly status: number
  /** It says that something is not there, which another process may have put into the log by now. */
  readonly absent: boolean
  constructor(errorCode: number, message: string, { absent = false }: { absent?: boolean } = {}) {
    super(message)
    this.errorCode = errorCode
    this.status = errorCode >= 10_000 ? Math.floor(errorCode / 100) : errorCode
    this.absent = absent || this.status === 404
  }
}

/** The context as Confluent writes it in sentences: nothing for the default one. */
const contextPart = (subject: string | null): string => {
  const context = contextOf(subject ?? '')
  return context === DEFAULT_CONTEXT ? '' : `:${context}:`
}

const notPermitted = (subject: string | null, why: string): RegistryRefusal =>
  new RegistryRefusal(42205, `Subject ${subject} in context ${contextPart(subject)} ${why}`)

/** Every refusal by what went wrong. */
export const refusals = {
  notFound: () => new RegistryRefusal(404, 'HTTP 404 Not Found'),
  mediaType: () => new RegistryRefusal(415, 'HTTP 415 Unsupported Media Type'),
  notReadable: (subject: string) => new RegistryRefusal(40301, `User is denied operation Read on Subject: ${subject}`),
  subjectNotFound: (subject: string) => new RegistryRefusal(40401, `Subject '${subject}' not found.`),
  versionNotFound: (version: number) => new RegistryRefusal(40402, `Version ${version} not found.`),
  schemaNotFound: () => new RegistryRefusal(40403, 'Schema not found'),
  schemaIdNotFound: (id: number) => new RegistryRefusal(40403, `Schema ${id} not found`),
  subjectSoftDeleted: (subject: string) =>
    new RegistryRefusal(40404, `Subject '${subject}' was soft deleted.Set permanent=true to delete permanently`),
  subjectNotSoftDeleted: (subject: string) =>
    new RegistryRefusal(40405, `Subject '${subject}' was not deleted first before being permanently deleted`),
  versionSoftDeleted: (subject: string, version: number) =>
    new RegistryRefusal(
      40406,
      `Subject '${subject}' Version ${version} was soft deleted.Set permanent=true to delete permanently`,
    ),
  versionNotSoftDeleted: (subject: string, version: number) =>
    new RegistryRefusal(
      40407,
      `Subject '${subject}' Version ${version} was not deleted first before being permanently deleted`,
    ),
  levelNotConfigured: (subject: string) =>
    new RegistryRefusal(40408, `Subject '${subject}' does not have subject-level compatibility configured`),
  modeNotConfigured: (subject: string) =>
    new RegistryRefusal(40409, `Subject '${subject}' does not have subject-level mode configured`),
  incompatible: (subject: string, details: readonly string[]) =>
    new RegistryRefusal(
      409,
      `Schema being registered is incompatible with an earlier schema for subject "${subject}", details: [${details.join(', ')}]`,
    ),
  emptySchema: () => new RegistryRefusal(42201, 'Empty schema'),
  /** `entity` is the schema as Confluent prints it, `references` its references. */
  invalidSchema: (
    entity: string,
    references: string,
    schemaType: string,
    { reason, absent }: { reason: string; absent: boolean },
  ) =>
    new RegistryRefusal(
      42201,
      `Invalid schema ${entity} with refs ${references} of type ${schemaType}, details: ${reason}`,
      { absent },
    ),
  invalidSchemaType: (schemaType: string) => new RegistryRefusal(42201, `Invalid schema type ${schemaType}`),
  versionNotNext: () => new RegistryRefusal(42201, 'Version is not one more than previous version'),
  invalidVersion: (version: string) =>
    new RegistryRefusal(
      42202,
      `The specified version '${version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
    ),
  invalidLevel: () =>
    new RegistryRefusal(
      42203,
      'Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive',
    ),
  invalidMode: () => new RegistryRefusal(42204, 'Invalid mode. Valid values are READWRITE, READONLY, and IMPORT.'),
  readOnly: (subject: string | null) => notPermitted(subject, 'is in read-only mode'),
  notWritable: (subject: string) => notPermitted(subject, 'is not in read-write mode'),
  notImporting: (subject: string) => notPermitted(subject, 'is not in import mode'),
  idTaken: (id: number, subject: string) =>
    new RegistryRefusal(
      42205,
      `Overwrite new schema with id ${id} in context ${contextPart(subject)} is not permitted.`,
    ),
  /** Confluent replaces the version; here a version never changes its schema. */
  versionTaken: (subject: string, version: number, id: number) =>
    new RegistryRefusal(
      42205,
      `Subject ${subject} has schema ${id} as version ${version}; a version is not replaced. Delete it first.`,
    ),
  subjectsExist: () => new RegistryRefusal(42205, 'Cannot import since found existing subjects'),
  referenced: (subject: string, version: number) =>
    new RegistryRefusal(
      42206,
      `One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=${subject},version=${version}}.`,
    ),
  invalidSubject: (subject: string) => new RegistryRefusal(42208, `The specified subject '${subject}' is not a valid.`),
  invalidRuleSet: (reason: string) => new RegistryRefusal(42210, reason),
  /** A property that would change what the registry does. */
  notSupported: (property: string) =>
    new RegistryRefusal(422, `${property} is not supported by this registry; leave it out`),
  storeFailed: (reason: string) => new RegistryRefusal(50001, `Error in the backend data store: ${reason}`),
  timedOut: () => new RegistryRefusal(50002, 'Operation timed out: the write may or may not have happened'),
} as const
