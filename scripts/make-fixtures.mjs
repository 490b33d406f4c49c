// Copies a small part of a folder of reference cases into fixtures/goldens, so that the project tests itself alone.
// Usage: node scripts/make-fixtures.mjs GOLDENS_DIR

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const from = process.argv[2];
const to = join(dirname(fileURLToPath(import.meta.url)), '..', 'fixtures', 'goldens');
if (!from) throw new Error('usage: node scripts/make-fixtures.mjs GOLDENS_DIR');
rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });

const manifest = JSON.parse(readFileSync(join(from, 'manifest.json'), 'utf8'));
const opened = new Map();
function open(path) {
  if (!opened.has(path)) {
    const bytes = readFileSync(join(from, path));
    const length = Number(bytes.readBigUInt64LE(0));
    opened.set(path, {
      header: JSON.parse(bytes.subarray(8, 8 + length).toString()),
      data: bytes.subarray(8 + length),
    });
  }
  return opened.get(path);
}
const tensorsOf = (c) => [...Object.values(c.inputs ?? {}), ...Object.values(c.outputs ?? {})];
const sizeOf = (c) => tensorsOf(c).reduce((n, t) => n + t.shape.reduce((a, b) => a * b, 1), 0);

const seen = new Set();
const firstOf = (key) => !seen.has(key) && seen.add(key);
const chosen = manifest.cases.filter((c) => {
  switch (c.kind) {
    case 'op':
      return sizeOf(c) <= 6000;
    case 'clip_text':
    case 'unet':
    case 'vae_encode':
    case 'vae_decode':
      return c.weights === 'fp16';
    case 'scheduler_trace':
      return c.params.num_inference_steps <= 20 && firstOf(c.scheduler);
    case 'scheduler_add_noise':
    case 'scheduler_table':
      return true;
    default:
      return false;
  }
});

// All tensors of the chosen cases in one file.
const header = {};
const parts = [];
let at = 0;
for (const c of chosen) {
  for (const t of tensorsOf(c)) {
    const { header: h, data } = open(t.file ?? c.file);
    const entry = h[t.key];
    if (!header[t.key]) {
      const bytes = data.subarray(...entry.data_offsets);
      header[t.key] = { dtype: entry.dtype, shape: entry.shape, data_offsets: [at, at + bytes.length] };
      parts.push(bytes);
      at += bytes.length;
    }
    delete t.file;
  }
  c.file = 'cases.safetensors';
}
const json = Buffer.from(JSON.stringify(header));
const length = Buffer.alloc(8);
length.writeBigUInt64LE(BigInt(json.length));
writeFileSync(join(to, 'cases.safetensors'), Buffer.concat([length, json, ...parts]));
writeFileSync(
  join(to, 'manifest.json'),
  JSON.stringify({ ...manifest, models_extra: undefined, cases: chosen }),
);

for (const [folder, stem] of [
  ['unet', 'diffusion_pytorch_model'],
  ['vae', 'diffusion_pytorch_model'],
  ['text_encoder', 'model'],
]) {
  const path = join('models', 'tiny-sd15', folder);
  mkdirSync(join(to, path), { recursive: true });
  for (const name of ['config.json', `${stem}.fp16.safetensors`])
    copyFileSync(join(from, path, name), join(to, path, name));
}
console.log(`${chosen.length} cases, ${(at / 2 ** 20).toFixed(2)} MiB of tensors`);
