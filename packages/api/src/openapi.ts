/** The contract as an OpenAPI document (OpenAPI Specification 3.1.1), made of the table of operations. */

import * as z from 'zod/mini';
import { ERRORS, type ErrorCode } from './errors.ts';
import { type Operation, pathFields } from './operation.ts';
import { COMMON_ERRORS, OPERATIONS } from './operations.ts';
import { failure } from './schemas.ts';

type Json = { readonly [name: string]: unknown };

/** Where an error's body is described. */
const FAILURE = { $ref: '#/components/schemas/Failure' };

export function openApiDocument(version: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const [name, operation] of Object.entries<Operation>(OPERATIONS)) {
    const methods = (paths[operation.path] ??= {});
    methods[operation.method.toLowerCase()] = describe(name, operation);
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Ringfence',
      version,
      summary: 'Virtual machines of one computer.',
      description: 'Served on a Unix socket that only its owner can open.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://ringfence', description: 'over the Unix socket' }],
    paths,
    components: { schemas: { Failure: { ...schemaOf(failure, 'output'), description: 'What did not work.' } } },
  };
}

function describe(name: string, { summary, method, path, input, output, answer, errors }: Operation): Json {
  const inPath = pathFields(path);
  const schema = schemaOf(input, 'input');
  const fields = schema['properties'] as Readonly<Record<string, Json>>;
  const required = (schema['required'] ?? []) as readonly string[];
  const inBody = method === 'POST' ? Object.keys(fields).filter((field) => !inPath.includes(field)) : [];
  const parameters = Object.entries(fields)
    .filter(([field]) => !inBody.includes(field))
    .map(([field, value]) => ({
      name: field,
      in: inPath.includes(field) ? 'path' : 'query',
      required: required.includes(field),
      schema: value,
    }));
  const bodyFields = required.filter((field) => inBody.includes(field));
  return {
    operationId: name,
    summary,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(inBody.length > 0
      ? {
          requestBody: {
            required: bodyFields.length > 0,
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  properties: Object.fromEntries(inBody.map((field) => [field, fields[field]])),
                  ...(bodyFields.length > 0 ? { required: bodyFields } : {}),
                  additionalProperties: false,
                },
              },
            },
          },
        }
      : {}),
    responses: { ...success(answer, output), ...failures([...errors, ...COMMON_ERRORS]) },
  };
}

function success(answer: Operation['answer'], output: Operation['output']): Json {
  const schema = schemaOf(output, 'output');
  switch (answer) {
    case 'value':
      return { 200: { description: 'The answer.', content: { 'application/json': { schema } } } };
    case 'long':
      return { 202: { description: 'It has begun.', content: { 'application/json': { schema } } } };
    case 'events':
      return {
        200: { description: 'Server-sent events; their data is JSON.', content: { 'text/event-stream': { schema } } },
      };
    case 'terminal':
      return { 101: { description: 'A WebSocket whose binary messages are bytes of the serial line.' } };
    case 'text':
      return { 200: { description: 'Text.', content: { 'text/plain': { schema } } } };
  }
}

/** One response for each status, with the codes that may come with it. */
function failures(codes: readonly ErrorCode[]): Json {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const { status } = ERRORS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, these]) => [
      status,
      {
        description: these.map((code) => `${code}: ${ERRORS[code].meaning}`).join(' '),
        content: { 'application/json': { schema: FAILURE } },
      },
    ]),
  );
}

/** JSON Schema 2020-12, which OpenAPI 3.1 has. */
function schemaOf(schema: Operation['output'], io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json;
  return rest;
}
