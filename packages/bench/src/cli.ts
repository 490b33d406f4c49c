// The bench command: peers | webgpu-peers | dispatch | memory | trace | op | pipeline | sd15 | table | compare |
// verify | prepare. Prints a table; --json FILE keeps everything.

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { DarkroomError } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { openDevice } from '@darkroom/cli/device';
import { benchDispatch } from './dispatch.ts';
import { memoryOfEmoji, memoryOfParts, memoryOfSd15Calls } from './memory.ts';
import type { MemoryRow } from './memory.ts';
import { benchOps } from './ops.ts';
import { benchPeers } from './peers.ts';
import { benchWebgpuPeers } from './peers/webgpu/parent.ts';
import type { PeerRow } from './peers/webgpu/parent.ts';
import { candidateNames } from './peers/webgpu/protocol.ts';
import type { CandidateName } from './peers/webgpu/protocol.ts';
import { workIds, works } from './peers/webgpu/work.ts';
import type { WorkId } from './peers/webgpu/work.ts';
import { benchPipeline } from './pipeline.ts';
import { plannedDevice } from './planned-device.ts';
import { environment, table, writeJson } from './report.ts';
import { benchSd15 } from './sd15.ts';
import { benchTraceOfEmoji, benchTraceOfSd15, benchWholeSteps } from './trace.ts';
import type { TraceRow } from './trace.ts';
import { compareCommand, tableCommand } from './table/command.ts';
import { modes } from './verify/models.ts';
import type { ModeName } from './verify/models.ts';
import { verifyCommand } from './verify/command.ts';
import { prepareCommand } from './verify/prepare-command.ts';

interface Options {
  readonly json?: string;
  readonly threads?: string;
  readonly device?: string;
  readonly seconds: string;
  readonly rounds: string;
}

const round = (x: number, digits = 1): number => Number(x.toFixed(digits));

async function withDevice<T>(options: Options, body: (device: Device) => Promise<T>): Promise<T> {
  const device = await openDevice(
    options.device ?? 'cpu',
    options.threads === undefined ? {} : { threads: Number(options.threads) },
  );
  try {
    return await body(device);
  } finally {
    device[Symbol.dispose]();
  }
}

function finish(options: Options, device: string, kind: string, result: unknown): void {
  const env = environment(device);
  process.stdout.write(
    `\n${env.cpu}, ${env.cores} cores, Node ${env.node}, ${env.device}, commit ${env.commit}, ${env.date}\n`,
  );
  if (options.json) writeJson(options.json, { kind, environment: env, result });
}

const webgpuPeerCells = (row: PeerRow): Record<string, string | number> => ({
  name: row.name,
  'best ms': round(row.fastestMs, 2),
  'median ms': round(row.medianMs, 2),
  'GFLOP/s': round(row.gflops, 2),
  'first run s': round(row.firstMs / 1000, 2),
  runs: row.samples,
  'includes readback': row.includesReadback ? 'yes' : 'no',
  form: row.form,
});

const traceCells = ({ work, kernels, eager, traced, ...row }: TraceRow): Record<string, string | number> => ({
  work,
  kernels: kernels.join(' → '),
  'values MiB': round(row.valuesMiB),
  'arena MiB': round(row.arenaMiB),
  ...(row.packedMiB > 0 && { 'packed MiB': round(row.packedMiB) }),
  'least ms': round(row.leastMs),
  'eager ms': round(eager.medianMs),
  'traced ms': round(traced.medianMs),
  ratio: round(eager.medianMs / traced.medianMs, 2),
  'of fastest': round(eager.fastestMs / traced.fastestMs, 2),
  'host ms': `${round(eager.hostMs)} → ${round(traced.hostMs)}`,
});

const program = new Command('bench').description('benchmarks; nothing here is a test');
const common = (command: Command): Command =>
  command
    .option('--json <file>', 'write everything as JSON')
    .option('--threads <n>', 'CPU threads')
    .option('--seconds <s>', 'time a candidate gets in each round', '0.4')
    .option('--rounds <n>', 'rounds, candidates interleaved', '4');
const timing = (o: Options): { seconds: number; rounds: number } => ({
  seconds: Number(o.seconds),
  rounds: Number(o.rounds),
});

common(program.command('peers').description('matmul and conv2d beside ONNX Runtime, same run')).action(
  async (options: Options) => {
    const rows = await benchPeers(timing(options));
    process.stdout.write(
      `${table(rows.map((r) => ({ work: r.work, name: r.name, 'best ms': round(r.fastestMs, 2), 'median ms': round(r.medianMs, 2), 'GFLOP/s': round(r.gflops) })))}\n`,
    );
    finish(options, 'cpu', 'peers', rows);
  },
);

program
  .command('webgpu-peers')
  .description('matmul, conv2d and attention on one WebGPU adapter beside other libraries, same run')
  .option('--json <file>', 'write everything as JSON')
  .option('--seconds <s>', 'time a candidate gets in each round', '0.4')
  .option('--rounds <n>', 'rounds, candidates interleaved', '4')
  .addOption(new Option('--work <names...>', 'which work').choices(workIds).default([...workIds]))
  .addOption(
    new Option('--only <names...>', 'which candidates').choices(candidateNames).default([...candidateNames]),
  )
  .action(async (options: Options & { work: WorkId[]; only: CandidateName[] }) => {
    const result = await benchWebgpuPeers({
      ...timing(options),
      works: options.work,
      candidates: options.only,
      onProgress: (line) => process.stderr.write(`${line}\n`),
    });
    for (const { work, rows, ratio } of result.works) {
      process.stdout.write(`\n${works[work].title}\n${table(rows.map(webgpuPeerCells))}\n`);
      if (ratio)
        process.stdout.write(
          `darkroom is ${ratio.fastest.toFixed(2)} times as fast as ${ratio.peer}, the best peer (by medians ${ratio.median.toFixed(2)})\n`,
        );
    }
    for (const failure of result.failures) process.stderr.write(`did not run: ${failure}\n`);
    process.stdout.write(
      `\n${Object.entries(result.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')}\n`,
    );
    finish(options, result.adapter, 'webgpu-peers', result);
    if (result.failures.length > 0) process.exitCode = 1;
  });

program
  .command('memory')
  .description(
    'peak memory and time of each memory feature, on emoji-64 and at SD 1.5 size with random weights',
  )
  .option(
    '-d, --device <name>',
    "cpu | webgpu | cuda | auto | planned: nothing computed, CUDA's regions",
    'cpu',
  )
  .option('--json <file>', 'write everything as JSON')
  .option('--threads <n>', 'CPU threads')
  .option('--latents <n>', "edge of SD 1.5's latents; 64 adds whole calls, 0 leaves SD 1.5 out", '16')
  .addOption(new Option('--mode <mode>', 'of SD 1.5').choices(Object.keys(modes)).default('float16'))
  .action(async (options: Options & { latents: string; mode: ModeName }) => {
    const emoji = join(dirname(fileURLToPath(import.meta.url)), '../../..', 'models/emoji-64');
    const latents = Number(options.latents);
    const mode = modes[options.mode];
    const planned = options.device === 'planned';
    const body = async (device: Device): Promise<{ rows: MemoryRow[]; fingerprint: string }> => {
      const rows = planned ? [] : await memoryOfEmoji(device, emoji);
      if (latents > 0) rows.push(...(await memoryOfParts(device, latents, mode.dtype)));
      if (latents === 64) rows.push(...(await memoryOfSd15Calls(device, emoji, mode)));
      return { rows, fingerprint: device.caps.fingerprint };
    };
    const { rows, fingerprint } = await (planned ? body(plannedDevice()) : withDevice(options, body));
    process.stdout.write(
      `${table(rows.map((r) => ({ work: r.work, setting: r.setting, 'peak MiB': round(r.peakMiB), 'with cache': round(r.reservedMiB), ms: round(r.ms) })))}\n`,
    );
    finish(options, fingerprint, 'memory', rows);
  });

program
  .command('trace')
  .description("a UNet step traced beside eager: emoji-64, and SD 1.5's size with random weights")
  .option('-d, --device <name>', 'cpu | webgpu | cuda | auto', 'cpu')
  .option('--json <file>', 'write everything as JSON')
  .option('--threads <n>', 'CPU threads')
  .option('--runs <n>', 'of each, interleaved; SD 1.5 has a tenth', '50')
  .option('--latents <n>', "edge of SD 1.5's latents; 0 leaves SD 1.5 out", '0')
  .addOption(new Option('--mode <mode>', 'of SD 1.5').choices(Object.keys(modes)).default('float16'))
  .action(async (options: Options & { runs: string; latents: string; mode: ModeName }) => {
    const emoji = join(dirname(fileURLToPath(import.meta.url)), '../../..', 'models/emoji-64');
    const [runs, latents] = [Number(options.runs), Number(options.latents)];
    const { rows, fingerprint } = await withDevice(options, async (device) => {
      const rows = [await benchTraceOfEmoji(device, emoji, runs), await benchWholeSteps(device, emoji, runs)];
      const few = Math.ceil(runs / 10);
      if (latents > 0) rows.push(await benchTraceOfSd15(device, latents, modes[options.mode].dtype, few));
      return { rows, fingerprint: device.caps.fingerprint };
    });
    process.stdout.write(`${table(rows.map(traceCells))}\n`);
    finish(options, fingerprint, 'trace', rows);
  });

program
  .command('dispatch')
  .description('host time of one op, on a backend that does nothing')
  .option('--json <file>', 'write everything as JSON')
  .option('--seconds <s>', 'time of each op', '1')
  .action((options: Options) => {
    const rows = benchDispatch({ seconds: Number(options.seconds) });
    process.stdout.write(
      `${table(rows.map((r) => ({ op: r.name, 'host ns': Math.round(r.fastestNs), 'median ns': Math.round(r.medianNs) })))}\n`,
    );
    finish(options, 'null', 'dispatch', rows);
  });

common(program.command('op').argument('[filter]').description("Stable Diffusion's op shapes"))
  .option('-d, --device <name>', 'cpu | webgpu | cuda | auto', 'cpu')
  .action(async (filter: string | undefined, options: Options) => {
    const { rows, fingerprint } = await withDevice(options, async (device) => ({
      rows: await benchOps(device, filter, timing(options)),
      fingerprint: device.caps.fingerprint,
    }));
    process.stdout.write(
      `${table(rows.map((r) => ({ op: r.name, kernel: r.kernel, 'best ms': round(r.ms, 3), p90: round(r.p90, 3), 'GFLOP/s': round(r.gflops), 'GB/s': round(r.gbytes) })))}\n`,
    );
    finish(options, fingerprint, 'op', rows);
  });

common(
  program.command('pipeline').option('--model <dir>').description('emoji-64, 25 steps with guidance'),
).action(async (options: Options & { model?: string }) => {
  const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
  const { result, fingerprint } = await withDevice(options, async (device) => ({
    result: await benchPipeline(device, options.model ?? join(root, 'models/emoji-64')),
    fingerprint: device.caps.fingerprint,
  }));
  process.stdout.write(
    `${result.msPerStep.toFixed(1)} ms a step, ${result.secondsPerImage.toFixed(2)} s an image; ` +
      `${(100 * result.kernelShare).toFixed(1)}% in kernels, ${(100 * result.outsideShare).toFixed(1)}% outside; ` +
      `${result.dispatchesPerStep} dispatches and ${result.gflopPerStep.toFixed(2)} GFLOP a step: ` +
      `${result.gflops.toFixed(1)} GFLOP/s beside ${result.matmulGflops.toFixed(1)} of matmul 1024\n`,
  );
  process.stdout.write(
    `${table(result.slowest.map((k) => ({ kernel: k.label, calls: k.calls, ms: round(k.ms) })))}\n`,
  );
  finish(options, fingerprint, 'pipeline', result);
});

common(program.command('sd15').description('a UNet forward of real size, random weights, 32x32 latents'))
  .option('-d, --device <name>', 'cpu | webgpu | cuda | auto', 'cpu')
  .action(async (options: Options) => {
    const { result, fingerprint } = await withDevice(options, async (device) => ({
      result: await benchSd15(device),
      fingerprint: device.caps.fingerprint,
    }));
    process.stdout.write(
      `${result.seconds.toFixed(2)} s, ${result.gflops.toFixed(1)} GFLOP/s; weights ${result.weightsMiB} MiB, ` +
        `peak on the device ${result.peakDeviceMiB} MiB, process ${result.residentMiB} MiB (${result.beyondWeightsMiB} MiB beyond the weights)\n`,
    );
    finish(options, fingerprint, 'sd15', result);
  });

program.addCommand(tableCommand());
program.addCommand(compareCommand());
program.addCommand(verifyCommand());
program.addCommand(prepareCommand());

// Exit quietly if the reader of stdout closes early (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof DarkroomError)) throw error;
  program.error(`bench: ${error.message}`);
}
