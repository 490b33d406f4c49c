// One candidate in a process of its own: peers patch globals and cannot share one. Started by the parent with the
// candidate's name; answers one request at a time and ends with the parent.

import type { Candidate, Prepared } from './candidate.ts';
import { openDarkroom } from './darkroom.ts';
import { gpuErrors, installDawn } from './dawn.ts';
import type { Gpu } from './dawn.ts';
import { openJax } from './jax.ts';
import { versionOf } from './load.ts';
import { openOrt } from './ort.ts';
import type { CandidateName, Opened, PreparedReply, Replies, Reply, Request } from './protocol.ts';
import { quiet } from './quiet.ts';
import { openTfjs } from './tfjs.ts';
import { inputsOf } from './work.ts';
import type { WorkId } from './work.ts';

interface Entry {
  open(gpu: Gpu): Promise<Candidate>;
  readonly packages: readonly string[];
}
const entries: Readonly<Record<CandidateName, Entry>> = {
  darkroom: { open: openDarkroom, packages: ['@darkroom/backend-webgpu'] },
  jax: { open: openJax, packages: ['@jax-js/jax'] },
  tfjs: { open: openTfjs, packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgpu'] },
  ort: { open: openOrt, packages: ['onnxruntime-web'] },
};

const { open, packages } = entries[process.argv[2] as CandidateName];
let candidate: Candidate | undefined;
const prepared = new Map<string, Prepared>();

async function timed(run: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

const answers: { readonly [K in Request['kind']]: (request: Request & { kind: K }) => Promise<Replies[K]> } =
  {
    async open(): Promise<Opened> {
      const { gpu, adapter } = await installDawn();
      candidate = await open(gpu);
      const { forms, includesReadback } = candidate;
      const names = (work: WorkId): string[] => forms[work].map((f) => f.name);
      return {
        adapter,
        versions: Object.fromEntries(['webgpu', ...packages].map((name) => [name, versionOf(name)])),
        includesReadback,
        forms: { matmul: names('matmul'), conv: names('conv'), attention: names('attention') },
      };
    },

    async prepare({ work, form }): Promise<PreparedReply> {
      const made = await candidate!.forms[work].find((f) => f.name === form)!.prepare(inputsOf(work));
      prepared.set(form, made);
      const firstMs = await timed(() => made.run());
      const tune = made.tune?.bind(made);
      const tuned = tune ? { tuneMs: await timed(tune) } : {};
      return { firstMs, ...tuned, result: await made.result() };
    },

    async run({ form, seconds }) {
      const made = prepared.get(form)!;
      const end = performance.now() + seconds * 1000;
      const times: number[] = [];
      do times.push(await timed(() => made.run()));
      while (performance.now() < end);
      return times;
    },

    async release({ form }) {
      prepared.get(form)?.dispose();
      prepared.delete(form);
      return undefined;
    },
  };

async function answer(request: Request): Promise<Reply> {
  try {
    const handler = answers[request.kind] as (request: Request) => Promise<Replies[Request['kind']]>;
    const ok = await handler(request);
    // WebGPU reports a refused dispatch here and goes on: its time would count as a fast run.
    if (gpuErrors.length > 0) return { error: `WebGPU: ${gpuErrors.splice(0)[0]}` };
    await quiet();
    return { ok };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

process.on('message', (request: Request) => {
  void answer(request).then((reply) => process.send!(reply));
});
process.on('disconnect', () => process.exit(0));
