// Changesets: a file for each change that users notice, in .changeset/, until a version takes them.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import parsed from '@changesets/parse';

/**
 * The changesets of a repository, by name: { file, releases: [{ name, type }], summary }.
 * @throws Error naming the file that is none, or that names a package which is not one of `published`
 */
export function readChangesets(root, published) {
  const folder = join(root, '.changeset');
  const files = readdirSync(folder).filter((file) => file.endsWith('.md'));
  return files.sort().map((file) => {
    const fail = (rule) => {
      throw new Error(`.changeset/${file}: ${rule}`);
    };
    let changeset;
    try {
      changeset = (parsed.default ?? parsed)(readFileSync(join(folder, file), 'utf8'));
    } catch (error) {
      return fail(`is no changeset: ${error.message}`);
    }
    const { releases, summary } = changeset;
    if (releases.length === 0) fail('names no package');
    if (summary.trim() === '') fail('says nothing');
    for (const { name } of releases)
      if (!published.includes(name)) fail(`'${name}' is none of ${published.join(', ')}`);
    return { file, releases, summary: summary.trim() };
  });
}

/** Names of the packages of a repository that are published, and folder of each. */
export function publishedPackages(root) {
  const folders = ['packages', 'models'].flatMap((above) =>
    readdirSync(join(root, above)).map((name) => join(root, above, name)),
  );
  const packages = folders.filter((folder) => existsSync(join(folder, 'package.json')));
  const manifests = packages.map((folder) => ({
    folder,
    manifest: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')),
  }));
  return manifests
    .filter(({ manifest }) => !manifest.private)
    .map(({ folder, manifest: { name, version } }) => ({ name, version, folder }));
}
