/** What one image is built with; the same for whichever program builds it. */
export interface ImageBuild {
  /** `orders`, or `platform`. */
  name: string;
  target: 'runtime' | 'dev';
  tag: string;
  /** Labels of the image, and base images where others are wanted. */
  buildArgs: Record<string, string>;
  /** Seconds since 1970 of the commit: the image's time, where the builder lets it be said. */
  epoch: number;
  /** The network of the build's steps, e.g. `host`; the builder's own choice without it. */
  network?: string;
}

/** How one program that builds images is called. */
export interface Builder {
  program: 'docker' | 'buildah';
  /** Succeeds when it can be used at all. */
  probe: string[];
  /** What to do when the probe fails, and when the program is not there. */
  cures: { unusable: string; missing: string };
  build(image: ImageBuild): { args: string[]; env: Record<string, string> };
  /** Each a list of arguments, to run in order. */
  push(from: string, to: string): string[][];
  /** Prints the size, for people. */
  size(image: string): string[];
}

/** The name of an image as manifests have it, with its tag. */
export const imageName = ({ name, tag }: Pick<ImageBuild, 'name' | 'tag'>) => `sidecart/${name}:${tag}`;

export const BUILDERS: Record<'docker' | 'buildah', Builder> = {
  docker: {
    program: 'docker',
    probe: ['version', '--format', '{{.Server.Version}}'],
    cures: {
      unusable: 'start Docker (`docker version` must show a server), or use --builder buildah',
      missing: 'install Docker, or use --builder buildah',
    },
    build: (image) => ({
      // The builder before BuildKit would leave the container of a step that failed.
      args: ['build', '--force-rm', ...commonArguments(image)],
      // Time of the image alone, for BuildKit; the builder before it knows nothing of it.
      env: { SOURCE_DATE_EPOCH: String(image.epoch) },
    }),
    push: (from, to) => [
      ['tag', from, to],
      ['push', to],
    ],
    size: (image) => ['images', '--format', '{{.Size}}', image],
  },
  buildah: {
    program: 'buildah',
    probe: ['info'],
    cures: {
      unusable: 'see what `buildah info` says; as a plain user it needs /etc/subuid and /etc/subgid',
      missing: 'install buildah (it is a package of that name), or use --builder docker',
    },
    build: (image) => ({
      // Here it is the time of every file too, and must not change a layer with each commit: that of the Dockerfile.
      args: ['build', '--layers', '--timestamp', '315532800', ...commonArguments(image)],
      env: {},
    }),
    push: (from, to) => [['push', ...(isLocal(to) ? ['--tls-verify=false'] : []), from, `docker://${to}`]],
    size: (image) => ['images', '--format', '{{.Size}}', image],
  },
};

function commonArguments(image: ImageBuild): string[] {
  const buildArgs = Object.entries({ SERVICE: image.name, ...image.buildArgs });
  return [
    '--target',
    image.target,
    '--tag',
    imageName(image),
    ...buildArgs.flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
    ...(image.network === undefined ? [] : ['--network', image.network]),
    '.',
  ];
}

/** A registry on this machine speaks plain HTTP; docker knows that by itself. */
function isLocal(image: string): boolean {
  return /^(localhost|127\.0\.0\.1|\[::1\])[:/]/.test(image);
}
