// The command around verify(): a table on stdout, one JSON, exit code 1 when anything failed.

import { Command } from 'commander';
import { openDevice } from '@darkroom/diffusers/device';
import { environment, table, writeJson } from './report.ts';
import { verify } from './verify.ts';

interface VerifyCommandOptions {
  readonly device: string;
  readonly runs: string;
  readonly quick?: boolean;
  readonly json?: string;
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description('conformance, kernels against the reference, then the op and UNet timings of a device')
    .argument('<goldens>', 'folder with manifest.json')
    .option('-d, --device <name>', 'cpu | webgpu | cuda | auto', 'cuda')
    .option('--runs <n>', 'random cases of each kind of op', '20')
    .option('--quick', 'no timings')
    .option('--json <file>', 'write everything as JSON')
    .action(async (goldens: string, options: VerifyCommandOptions) => {
      const say = (line: string): void => void process.stdout.write(`${line}\n`);
      const device = await openDevice(options.device);
      const fingerprint = device.caps.fingerprint;
      const { runs, quick = false } = options;
      const result = await verify(device, { goldens, runs: Number(runs), quick, say }).finally(() =>
        device[Symbol.dispose](),
      );
      const failures = [...result.kernels.failures, ...result.choices.failures, ...result.errors];
      for (const failure of failures) say(`FAIL ${failure}`);
      if (result.ops.length > 0) {
        say(table(result.ops.map((r) => ({ op: r.name, kernel: r.kernel, 'best ms': Number(r.ms.toFixed(4)), 'GFLOP/s': Math.round(r.gflops), 'GB/s': Math.round(r.gbytes) })))); // prettier-ignore
      }
      for (const u of result.unet)
        say(`UNet SD 1.5, batch 2, ${u.dtype}: ${u.ms.toFixed(2)} ms, peak ${u.peakMiB} MiB`);
      const { passed, failed, unsupported } = result.conformance;
      say(`conformance ${passed} passed, ${failed} failed, ${unsupported} unsupported`);
      say(`kernels ${result.kernels.passed} passed, ${result.kernels.failures.length} failed`);
      const chosen = Object.entries(result.choices.passed).map(([from, n]) => `${from} ${n}`);
      if (!quick) say(`choices ${chosen.join(', ')} passed, ${result.choices.failures.length} failed`);
      const env = environment(fingerprint);
      say(`\n${env.device}, Node ${env.node}, commit ${env.commit}, ${env.date}`);
      if (options.json) writeJson(options.json, { kind: 'verify', environment: env, result });
      const bad = failed + failures.length;
      if (bad > 0 || passed === 0) process.exitCode = 1;
    });
}
