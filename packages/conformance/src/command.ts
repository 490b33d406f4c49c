// darkroom conformance: runs a folder of reference cases on a device. A line per failing case, then the count.

import { Command } from 'commander';
import { openChosen, withDeviceOptions } from '@darkroom/cli';
import type { DeviceChoice } from '@darkroom/cli';
import { openModel } from '@darkroom/diffusers';
import { runConformance } from './run.ts';

interface ConformanceCommandOptions extends DeviceChoice {
  readonly filter?: string;
  readonly traced?: boolean;
  readonly verbose?: boolean;
}

/** The command: a folder, a device, which cases. */
export function conformanceCommand(): Command {
  return withDeviceOptions(new Command('darkroom conformance'))
    .description('compare this device with reference tensors made by diffusers')
    .argument('<dir>', 'folder with manifest.json')
    .option('-f, --filter <text>', 'only cases whose id contains this')
    .option('--traced', "run traces; those without passes must give eager's bits")
    .option('-v, --verbose', 'name unsupported cases too')
    .addHelpText(
      'after',
      `
Exit code 1 when a case fails or is of a kind this version does not understand.
Examples:
  npm run -s darkroom -- conformance fixtures/goldens --device cpu
  npm run -s darkroom -- conformance fixtures/goldens --filter op/conv2d`,
    )
    .action(async (dir: string, options: ConformanceCommandOptions) => {
      const files = await openModel(dir, { localFilesOnly: true });
      const device = await openChosen(options);
      try {
        const report = await runConformance({
          device,
          files,
          ...(options.filter !== undefined && { filter: options.filter }),
          ...(options.traced && { traced: true }),
          onFailure: (id, reason) => void process.stdout.write(`FAIL ${id}: ${reason}\n`),
          ...(options.verbose && {
            onUnsupported: (id: string) => void process.stdout.write(`unsupported ${id}\n`),
          }),
        });
        const { passed, failed, unsupported } = report;
        process.stdout.write(`${passed} passed, ${failed} failed, ${unsupported} unsupported\n`);
        if (failed > 0 || passed + unsupported === 0) process.exitCode = 1;
      } finally {
        device[Symbol.dispose]();
      }
    });
}
