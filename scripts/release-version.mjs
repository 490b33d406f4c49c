// The next version: takes the changesets into CHANGELOG.md, one for all packages, and the version into their manifests and
// into the constant that pictures tell. Usage: node scripts/release-version.mjs [ROOT]

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { publishedPackages, readChangesets } from './checks/changesets.mjs';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const root = resolve(process.argv[2] ?? here);
const names = publishedPackages(root).map(({ name }) => name);
const changesets = readChangesets(root, names);
if (changesets.length === 0) {
  console.error('no changeset in .changeset: nothing to release (pnpm changeset adds one)');
  process.exit(1);
}

/**
 * Runs `work` while the manifests have no peers of ours: a new version of an exact peer is a major change to changesets,
 * but all our packages get the new version together.
 */
function withoutPeers(work) {
  const kept = publishedPackages(root).flatMap(({ folder }) => {
    const path = join(folder, 'package.json');
    const { peerDependencies } = JSON.parse(readFileSync(path, 'utf8'));
    return peerDependencies ? [{ path, peerDependencies }] : [];
  });
  const edit = (path, change) => {
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    // Keys keep their order.
    const entries = Object.entries(manifest).map(([key, value]) => [key, change(key, value)]);
    writeFileSync(path, `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`);
  };
  for (const { path } of kept) edit(path, (key, value) => (key === 'peerDependencies' ? {} : value));
  try {
    return work();
  } finally {
    for (const { path, peerDependencies } of kept)
      edit(path, (key, value) => (key === 'peerDependencies' ? peerDependencies : value));
  }
}

const command = join(here, 'node_modules/@changesets/cli/bin.js');
const done = withoutPeers(() =>
  spawnSync(process.execPath, [command, 'version'], { cwd: root, encoding: 'utf8' }),
);
if (done.status !== 0) {
  console.error(`changeset version: exit code ${done.status}\n${done.stdout}${done.stderr}`);
  process.exit(1);
}

const versions = [...new Set(publishedPackages(root).map(({ version }) => version))];
if (versions.length !== 1) throw new Error(`packages have one version, got ${versions.join(', ')}`);
const [version] = versions;

/** Lines of a list: the summary, and of which packages it tells. */
const entry = ({ releases, summary }) => {
  const scope = releases.map(({ name }) => `\`${name}\``).join(', ');
  return `- ${summary.replaceAll('\n', '\n  ')} (${scope})`;
};
const changelog = join(root, 'CHANGELOG.md');
const [title, ...older] = readFileSync(changelog, 'utf8').split('\n\n');
const section = `## ${version}\n\n${changesets.map(entry).join('\n')}`;
writeFileSync(changelog, [title, section, ...older].join('\n\n'));

const constant = join(root, 'packages/diffusers/src/version.ts');
const text = readFileSync(constant, 'utf8');
writeFileSync(constant, text.replace(/version = '[^']*'/, `version = '${version}'`));
console.log(`version ${version}: ${changesets.length} changes in CHANGELOG.md`);
