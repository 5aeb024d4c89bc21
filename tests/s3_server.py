"""An S3 server on this machine with one bucket and one user; it lasts until its standard input is closed."""

import json
import sys

import boto3
import requests
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

BUCKET = "models"
ALL_OF_S3 = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def main() -> None:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    anyone = {"region_name": "us-east-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
    iam = boto3.client("iam", endpoint_url=url, **anyone)
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="s3", PolicyDocument=json.dumps(ALL_OF_S3))
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    boto3.client("s3", endpoint_url=url, **anyone).create_bucket(Bucket=BUCKET)
    requests.post(f"{url}/moto-api/reset-auth", data="0", timeout=60)  # from now on signatures are checked
    print(json.dumps({"url": url, "key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
