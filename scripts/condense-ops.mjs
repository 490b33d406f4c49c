// Condenses a recorded op list (every op of a forward in diffusers, with its shapes) to what a replay needs: views left
// out, each different op once, and the order as indices. Usage: node scripts/condense-ops.mjs RECORDED.json
// Writes packages/bench/torch/sd15-ops.json; the totals are the recording's own, for tests to compare with.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [from] = process.argv.slice(2);
if (!from) throw new Error('usage: node scripts/condense-ops.mjs RECORDED.json');
const recorded = JSON.parse(readFileSync(from, 'utf8'));
const names = { unet: 'unet_b2_64x64', vae: 'vae_decode_512', text: 'clip_text_b2' };

function condense(ops) {
  const index = new Map();
  const order = [];
  for (const op of ops) {
    if (op.kind === 'view') continue;
    const { kind, inputs, outputs, stride, padding, groups, causal } = op;
    const key = JSON.stringify({ op: kind, inputs, output: outputs[0], stride, padding, groups, causal });
    if (!index.has(key)) index.set(key, index.size);
    order.push(index.get(key));
  }
  return { ops: [...index.keys()], order };
}

const sections = Object.entries(names).map(([name, source]) => {
  const { ops, order } = condense(recorded.ops[source]);
  const { params, gflops_total: gflops, by_kind: kinds } = recorded.summary[source];
  const totals = Object.fromEntries(
    Object.entries(kinds)
      .filter(([kind]) => kind !== 'view')
      .map(([kind, { count, gflops: g, params: p }]) => [kind, { count, gflops: g, params: p }]),
  );
  const head = `"source": "${source}", "params": ${params}, "gflops": ${gflops}`;
  return `"${name}": {${head},\n"kinds": ${JSON.stringify(totals)},\n"ops": [\n${ops.join(',\n')}],\n"order": ${JSON.stringify(order)}}`;
});
const note =
  'Stable Diffusion 1.5 at 512x512, recorded from diffusers: UNet step (batch 2), VAE decode, text encoder (batch 2). A multiply-add is 2 FLOPs.';
const out = join(dirname(fileURLToPath(import.meta.url)), '..', 'packages/bench/torch/sd15-ops.json');
writeFileSync(out, `{"note": "${note}",\n"sections": {\n${sections.join(',\n')}}}\n`);
