// What a bundler makes of core: a page takes four names, the bundle runs without anything being imported for its effects.
// `sideEffects` lets bundlers leave out modules that nothing is taken from, so wiring by import would be lost; the one
// module that it names stays.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import { build } from 'esbuild';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, expect, test } from 'vitest';

const core = fileURLToPath(new URL('./index.ts', import.meta.url));
const backendApi = fileURLToPath(new URL('./backend-api.ts', import.meta.url));
/** A convolution with an epilogue that the device has no kernel for: decomposed, into a tensor that is given. */
const program = `
import { conv2d, Device, nullBackend, tensor } from ${JSON.stringify(core)};
import { dispatch } from ${JSON.stringify(backendApi)};
const backend = nullBackend({ choices: (op) => ('epilogue' in op || op.kind === 'halved' ? [] : [{ id: 'null' }]) });
const device = new Device(backend);
const x = tensor(new Float32Array(32), { shape: [1, 2, 4, 4], device });
const w = tensor(new Float32Array(36), { shape: [2, 2, 3, 3], device });
const b = tensor([1, 2], { device });
const y = conv2d(x, w, { bias: b, padding: 1 });
const halved = {
  kind: 'halved', inputs: [1, 1],
  infer: (_, [t]) => t, cost: () => ({ flops: 0, bytes: 0 }), tolerance: () => ({ atol: 0, rtol: 0 }),
  decompose: (_, [t]) => t.alias(),
};
dispatch(halved, { kind: 'halved' }, [y], { out: y.alias() });
console.log(y.toString(), backend.runs.join(' '));
`;

const folder = mkdtempSync(join(tmpdir(), 'darkroom-bundle-'));
const entry = join(folder, 'program.mjs');
beforeAll(() => writeFileSync(entry, program));
afterAll(() => rmSync(folder, { recursive: true }));

const bundlers: Readonly<Record<string, (file: string) => Promise<unknown>>> = {
  esbuild: (file) =>
    build({ entryPoints: [entry], bundle: true, format: 'esm', platform: 'neutral', target: 'es2022', external: ['node:*'], outfile: file, logLevel: 'silent' }),
  rolldown: async (file) => {
    const bundle = await rolldown({ input: entry, external: /^node:/, platform: 'neutral', transform: { target: 'es2022' }, logLevel: 'silent' });
    await bundle.write({ file, format: 'esm', codeSplitting: false });
  },
}; // prettier-ignore

test.each(Object.entries(bundlers))('%s', async (name, bundle) => {
  const file = join(folder, `${name}.mjs`);
  await bundle(file);
  const { stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(stdout).toBe('float32[1,2,4,4] conv2d/null map/null copy/null\n');
});

test('a browser without Symbol.dispose gets one, before the first class that has it', async () => {
  const contents = `import { Scope } from ${JSON.stringify(core)};
    globalThis.ended = 0;
    { using scope = new Scope(); scope.dispose = () => ended++; }
    globalThis.has = typeof Scope.prototype[Symbol.dispose];`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    format: 'iife',
    platform: 'neutral',
    target: 'es2022',
    external: ['node:*'],
    write: false,
    logLevel: 'silent',
  });
  const text = outputFiles[0]!.text;
  expect(text).toContain('Symbol.for("Symbol.dispose")');
  const realm: Record<string, unknown> = { console };
  // A context has the engine's own globals: none of those that Node adds.
  runInNewContext(text, realm);
  expect([realm['has'], realm['ended']]).toEqual(['function', 1]);
});
