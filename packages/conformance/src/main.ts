#!/usr/bin/env node
// The conformance command: `darkroom conformance` from the repository's root, or this file by its path.

import { runProgram } from '@darkroom/cli';
import { conformanceCommand } from './command.ts';

await runProgram(conformanceCommand());
