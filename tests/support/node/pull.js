// Pull an image as testcontainers for Node does: IMAGE is argument 1. It finds docker and the login by itself.
const { getContainerRuntimeClient, ImageName } = require("testcontainers");

async function main() {
  const client = await getContainerRuntimeClient();
  await client.image.pull(ImageName.fromString(process.argv[2]), { force: true });
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
