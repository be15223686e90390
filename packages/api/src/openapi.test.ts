import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, test } from 'vitest';
import { openApiDocument } from './openapi.ts';
import { OPERATIONS } from './operations.ts';

test("the document is OpenAPI 3.1 by the specification's own schema", async () => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(openApiDocument('1.2.3')));
  expect(result.errors).toBeUndefined();
  expect([result.valid, validator.version]).toEqual([true, '3.1']);
});

test('a document that is wrong would be noticed', async () => {
  const document = structuredClone(openApiDocument('1.2.3')) as { paths: Record<string, Record<string, object>> };
  document.paths['/v1/vms'] = { get: { parameters: [{ name: 'x', in: 'nowhere' }] } };
  expect((await new Validator().validate(document)).valid).toBe(false);
});

test('every operation is in it once, with its input, its answer and its errors', () => {
  const { paths } = openApiDocument('1') as { paths: Record<string, Record<string, { operationId: string }>> };
  const ids = Object.values(paths).flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
  expect(ids.toSorted()).toEqual(Object.keys(OPERATIONS).toSorted());
  expect(paths['/v1/vms/{vm}/stop']?.['post']).toMatchObject({
    parameters: [{ name: 'vm', in: 'path', required: true }],
    requestBody: {
      content: {
        'application/json': { schema: { properties: { timeoutMs: { type: 'integer', maximum: 86_400_000 } } } },
      },
    },
    responses: { 202: {}, 404: {}, 409: { description: expect.stringContaining('wrong-state') } },
  });
});
